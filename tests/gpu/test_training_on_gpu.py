"""Training on a GPU: the CPU's numbers, every precision, compiled networks, resuming, reductions by NCCL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_toolkit.core.rng import generator
from ofa_toolkit.pipelines.training.run import prepare, train
from ofa_toolkit.supernets import extract
from ofa_toolkit.training.algorithm import Position
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.losses import hard_cross_entropy
from ofa_toolkit.training.trainer import Trainer, TrainingStoppedError
from tests.integration.small_runs import Recorder, differing, small_config, weights

pytestmark = pytest.mark.gpu

BIGNAS = {"name": "bignas", "zero_gamma": False}


def losses(config: RunConfig, device: str) -> list[float]:
    """Of the networks of a run's first update."""
    trainer = prepare(config, Path("unused"), process=Process(device=torch.device(device)))
    return _update(trainer)


def _update(trainer: Trainer) -> list[float]:
    phase, size = trainer.algorithm.phases[0], trainer.config.space.resolutions[0]
    position = Position(epoch=0, step=0, steps_per_epoch=4, resolution=size)
    passes = trainer.algorithm.plan(phase, position, np.random.default_rng(0))
    batch = next(trainer.dataset.epoch(0, 8, seed=0, device=trainer.process.device))
    return trainer.learner.update(passes, batch, rate=0.05, seed=0).losses.tolist()


def test_the_first_update_is_that_of_a_cpu(device: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    config = small_config(BIGNAS, training={"dropout": 0.0})
    np.testing.assert_allclose(losses(config, device), losses(config, "cpu"), rtol=1e-3)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision(device: str, precision: str) -> None:
    if device == "cpu" and precision == "float16":
        pytest.skip("needs a CUDA device")
    exact = losses(small_config(BIGNAS, training={"dropout": 0.0}), device)
    config = small_config(BIGNAS, training={"dropout": 0.0, "precision": precision})
    np.testing.assert_allclose(losses(config, device), exact, rtol=0.05)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_whole_run_in_each_precision(gpu: str, tmp_path: Path, precision: str) -> None:
    method = {"name": "deps", "warmup_share": 0.5, "num_networks": 2}
    config = small_config(method, training={"epochs": 2, "precision": precision})
    result = train(config, tmp_path / "run", device=gpu)
    assert all(torch.isfinite(tensor).all() for tensor in weights(result).values())


def test_compiled_networks(device: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    exact = losses(small_config(BIGNAS, training={"dropout": 0.0}), device)
    compiled = losses(small_config(BIGNAS, training={"dropout": 0.0, "compile": True}), device)
    np.testing.assert_allclose(compiled, exact, rtol=1e-3)


class _StopsAfter(Recorder):
    """Asks the run to stop, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def progress(self, progress: Any) -> None:
        super().progress(progress)
        if progress.done == self.step:
            os.kill(os.getpid(), 2)


def test_stopped_and_resumed(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    config = small_config({"name": "deps", "warmup_share": 0.5, "num_networks": 2}, training={"epochs": 2})
    whole = train(config, tmp_path / "whole", device=device, threads=1)
    with pytest.raises(TrainingStoppedError):
        train(config, tmp_path / "parts", device=device, threads=1, reporter=_StopsAfter(3))
    parts = train(config, tmp_path / "parts", resume=True, device=device, threads=1)
    first, second = weights(whole), weights(parts)
    if device == "cpu":
        assert differing(first, second) == []
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_every_gpu_takes_part(gpu: str, tmp_path: Path) -> None:
    count = torch.cuda.device_count()
    if count < 2:
        pytest.skip("needs two CUDA devices")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)),
        *("-m", "ofa_tk", "train", "--recipe", "deps-compact-cifar10", "--epochs", "1"),
        *("--data", f"fake:classes=4,size=32,train={64 * count},test=16", "--out", str(tmp_path / "run")),
        *("--set", f"training.batch_size={16 * count}", "--set", "tensorboard=false", "--json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_one_gpu_reduces_by_nccl(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import distributed

    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531"}.items():
        monkeypatch.setenv(name, value)
    torch.cuda.set_device(0)
    distributed.init_process_group("nccl", rank=0, world_size=1)
    try:
        values = torch.arange(4.0, device=gpu)
        distributed.all_reduce(values)
        outcome: list[Any] = ["from rank 0"]
        distributed.broadcast_object_list(outcome, src=0)
        assert values.tolist() == [0, 1, 2, 3]
        assert outcome == ["from rank 0"]
    finally:
        distributed.destroy_process_group()


def _images_a_second(step: Callable[[], object], images: int, device: str) -> float:
    def settle() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    rates = []
    for repeat in range(6):
        settle()
        started = time.perf_counter()
        for _ in range(5):
            step()
        settle()
        if repeat:
            rates.append(5 * images / (time.perf_counter() - started))
    return sorted(rates)[len(rates) // 2]


def test_throughput_of_the_largest_network(
    gpu: str, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    """DϵpS' warm-up trains one network; a plain loop over the extracted one is what it could reach."""
    method = {"name": "deps", "warmup_share": 1.0, "num_networks": 1}
    space = {"name": "deps-mobilenet-v3-cifar", "resolutions": [32], "depths": (), "expand_ratios": ()}
    loop = {"batch_size": 256, "precision": "bfloat16", "dropout": 0.0, "epochs": 1}
    data = {"source": "fake:classes=10,size=32,train=2048,test=64", "validation_size": 64}
    config = small_config(method, training=loop, space=space, data=data)
    trainer = prepare(config, Path("unused"), process=Process(device=torch.device(gpu)))
    phase = trainer.algorithm.phases[0]
    position = Position(epoch=0, step=0, steps_per_epoch=7, resolution=32)
    passes = trainer.algorithm.plan(phase, position, generator(0, "subnets", 0))
    images, labels = next(trainer.dataset.epoch(0, 256, seed=0, device=torch.device(gpu)))
    network = extract(trainer.learner.supernet, passes[0].subnet).train()
    network.to(gpu, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    def plain() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            logits = network(images)
        hard_cross_entropy(logits.float(), labels, 0.0).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def ours() -> None:
        trainer.learner.update(passes, (images, labels), rate=0.05, seed=0)

    rates = {"ours": _images_a_second(ours, 256, gpu), "plain": _images_a_second(plain, 256, gpu)}
    for name, rate in rates.items():
        record_property(f"images_per_second_{name}", rate)
    with capsys.disabled():
        name = torch.cuda.get_device_name(0)
        sys.stderr.write(f"\n{name}: {rates['ours']:.0f} images/s, plain {rates['plain']:.0f}\n")
    assert rates["ours"] > 0.5 * rates["plain"]

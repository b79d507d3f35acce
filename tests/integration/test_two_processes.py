"""Two gloo processes make the update that one process makes on the joined batch."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.pipelines.training.run import prepare, train
from ofa_toolkit.training.algorithm import Position
from ofa_toolkit.training.distributed import Process, join, leave
from ofa_toolkit.training.optimizer import set_learning_rate
from ofa_toolkit.training.shared_batchnorm import share_batch_norm, shared_batch_norm
from ofa_toolkit.training.trainer import TrainingStoppedError
from tests.integration.process_pair import start_pair
from tests.integration.small_runs import Recorder, run, small_config, weights

CONFIG = small_config({"name": "bignas", "zero_gamma": False}, training={"dropout": 0.0})


def one_update(process: Process, *, is_frozen: bool) -> dict[str, torch.Tensor]:
    """Weights after one update of BigNAS on the first batch."""
    trainer = prepare(CONFIG, Path("unused"), process=process)
    if process.world_size > 1:
        share_batch_norm(trainer.learner.supernet)
    batches = trainer.dataset.epoch(0, 8, seed=0, rank=process.rank, world_size=process.world_size)
    images, labels = next(batches)
    phase = trainer.algorithm.phases[0]
    position = Position(epoch=0, step=0, steps_per_epoch=4, resolution=8)
    passes = trainer.algorithm.plan(phase, position, np.random.default_rng(0))
    set_learning_rate(trainer.learner.optimizer, 0.05)
    trainer.learner.supernet.train(not is_frozen)
    trainer.learner.updater(images, labels, passes)
    return {name: tensor.clone() for name, tensor in trainer.learner.supernet.state_dict().items()}


def child(is_frozen: bool, connection: Any) -> None:
    torch.set_num_threads(1)
    process = join("cpu")
    tensors = one_update(process, is_frozen=is_frozen)
    connection.send({name: tensor.numpy() for name, tensor in tensors.items()})
    leave(process)


def whole_run(out: str, connection: Any) -> None:
    method = {"name": "deps", "warmup_share": 0.0, "num_networks": 2}
    loop = {"epochs": 1, "batch_size": 16, "sync_batchnorm": True}
    run(small_config(method, training=loop), Path(out))
    connection.send("done")


def in_two_processes(target: Any, *arguments: Any) -> list[Any]:
    pair = start_pair(target, *arguments)
    results = [receiver.recv() for _, receiver in pair]
    for process, _ in pair:
        process.join()
        assert process.exitcode == 0
    return results


@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen batch norm", "shared batch norm"])
def test_one_update(is_frozen: bool) -> None:
    alone = one_update(Process(), is_frozen=is_frozen)
    first, second = in_two_processes(child, is_frozen)
    for name, tensor in alone.items():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        scale = max(1e-3, float(tensor.abs().max()))
        # Sums of float32 in another order; batch statistics of 8 images amplify them.
        np.testing.assert_allclose(
            first[name], tensor.numpy(), atol=(1e-6 if is_frozen else 1e-3) * scale, err_msg=name
        )


def test_a_whole_run(tmp_path: Path) -> None:
    assert in_two_processes(whole_run, str(tmp_path / "run")) == ["done", "done"]
    assert weights(tmp_path / "run" / "supernet")


class _Stopping(Recorder):
    """Asks the run to stop after its second update."""

    def progress(self, progress: Progress) -> None:
        super().progress(progress)
        if progress.done == 2:
            os.kill(os.getpid(), signal.SIGTERM)


HALF = small_config({"name": "deps", "warmup_share": 0.0, "num_networks": 2}, training={"epochs": 1})


def stopped_run(out: str, connection: Any) -> None:
    torch.set_num_threads(1)
    with pytest.raises(TrainingStoppedError):
        train(HALF, Path(out), device="cpu", threads=1, reporter=_Stopping())
    connection.send("stopped")


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert in_two_processes(stopped_run, str(folder)) == ["stopped", "stopped"]
    result, recorder = run(HALF, folder, resume=True)
    assert len(recorder.losses) == 2
    assert any("2 process(es) before, 1 now" in text for text in recorder.messages)
    summary = json.loads((folder / "summary.json").read_text())
    assert [(part["num_devices"], part["updates"]) for part in summary["parts"]] == [(2, 2), (1, 2)]
    seconds = sum(part["num_devices"] * part["seconds"] for part in summary["parts"])
    assert result.total_cost.device_hours == pytest.approx(seconds / 3600)


def far_from_zero(mean: float, deviation: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(9, 5, 8, 8, generator=generator) * deviation + mean).float()


def normalized(mean: float, deviation: float, connection: Any) -> None:
    process = join("cpu")
    images = far_from_zero(mean, deviation)
    part = images[:4] if process.is_main else images[4:]
    running = torch.zeros(5), torch.ones(5)
    output = shared_batch_norm(part, *running, torch.ones(5), torch.zeros(5), True, 0.1, 1e-5)
    connection.send((output.numpy(), running[0].numpy(), running[1].numpy()))
    leave(process)


@pytest.mark.parametrize(("mean", "deviation"), [(30.0, 0.03), (100.0, 0.03)])
def test_shared_batch_norm_far_from_zero(mean: float, deviation: float) -> None:
    first, second = in_two_processes(normalized, mean, deviation)
    running = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    images = far_from_zero(mean, deviation).double()
    wanted = torch.nn.functional.batch_norm(images, *running, training=True, momentum=0.1, eps=1e-5)
    # float32 holds such images to 1e-4 of their deviation.
    np.testing.assert_allclose(np.concatenate([first[0], second[0]]), wanted.numpy(), atol=1e-3)
    for found in (first, second):
        np.testing.assert_allclose(found[1], running[0].numpy(), rtol=1e-6)
        np.testing.assert_allclose(found[2], running[1].numpy(), rtol=1e-6)

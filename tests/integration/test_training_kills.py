"""A run that is killed anywhere and started again by its line ends with the same weights, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_toolkit.core import config as configuration
from ofa_toolkit.training.checkpoint import read_checkpoint
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.metrics import read_metrics
from ofa_toolkit.training.run_folder import Resume
from tests.integration.small_runs import (
    TINY_SPACE,
    differing,
    preload,
    run,
    small_config,
    train_in_child,
    weights,
)

# Eight updates. Together: sorting, moving average, teacher, momentum, dropout, a checkpoint within epochs.
TABLES: dict[str, dict[str, Any]] = {
    "space": {**TINY_SPACE, "depths": [1], "kernel_sizes": [3]},
    "training": {"batch_size": 16, "dropout": 0.2},
    "checkpoints": {"every_steps": 3},
    "validation": {"every_epochs": 2},
}
CONFIGS: dict[str, RunConfig] = {
    "deps": small_config(
        {"name": "deps", "warmup_share": 0.5, "ramp_share": 0.5, "num_networks": 2},
        **{**TABLES, "training": {**TABLES["training"], "ema_decay": 0.9}},
    ),
    "bignas": small_config({"name": "bignas", "num_networks": 2, "aggregation": "average"}, **TABLES),
    "ofa": small_config({"name": "ofa"}, **TABLES),
    "compofa": small_config({"name": "compofa"}, **{**TABLES, "space": {**TINY_SPACE, "kernel_sizes": [3]}}),
}
NUM_UPDATES = 8
SEED = {method: number for number, method in enumerate(CONFIGS)}


class Life:
    """What becomes of one process: it is killed at a write, at an update, or finishes."""

    def __init__(self, random: np.random.Generator, *, is_first: bool, num_updates: int) -> None:
        # A third in the writing of files, among them those before the first checkpoint.
        dies_writing = random.random() < 1 / 3
        self.dies_at = int(random.integers(14 if is_first else 40)) if dies_writing else None
        self.killed_after = None if dies_writing else int(random.integers(1, num_updates))


def live(life: Life | None, config: RunConfig, out: Path, resume: Resume) -> bool:
    """Train in a child process; whether it finished."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload()))
    receiver, sender = context.Pipe(duplex=False)
    dies_at = life.dies_at if life is not None else None
    values = configuration.to_dict(config)
    child = context.Process(target=train_in_child, args=(values, str(out), resume, sender, dies_at))
    child.start()
    sender.close()
    heard = _listen_until(receiver, None if life is None else life.killed_after)
    if isinstance(heard, int):
        # While it goes on.
        os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    assert heard in ("done", None) or isinstance(heard, int), heard
    return bool(heard == "done")


def _listen_until(receiver: Any, update: int | None) -> Any:
    while True:
        try:
            heard = receiver.recv()
        except EOFError:
            return None
        if not isinstance(heard, int) or (update is not None and heard >= update):
            return heard


def kill_and_finish(config: RunConfig, out: Path, random: np.random.Generator, num_kills: int) -> int:
    """Kill so many processes one after the other and let the last one finish; returns how many were."""
    for number in range(num_kills):
        life = Life(random, is_first=number == 0, num_updates=NUM_UPDATES)
        if live(life, config, out, _line(out, random)):
            return number
    assert live(None, config, out, _line(out, random))
    return num_kills


def _line(out: Path, random: np.random.Generator) -> Resume:
    """Any line that fits: before the first checkpoint that is each of them, once there is a run at all."""
    lines: list[Resume] = ["auto"]
    if any(out.glob("checkpoints/[!.]*.pt")):
        lines += [True]
    elif (out / "run.toml").exists():
        lines += [True, False]
    else:
        lines += [False]
    return lines[int(random.integers(len(lines)))]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder, finished = tmp_path_factory.mktemp("whole"), set()

    def of(method: str) -> Path:
        if method not in finished:
            run(CONFIGS[method], folder / method)
            finished.add(method)
        return folder / method

    return of


def check_same(whole: Path, killed: Path) -> None:
    assert differing(weights(whole / "supernet"), weights(killed / "supernet")) == []
    for name in ("best.pt", *(path.name for path in (whole / "checkpoints").glob("step-*.pt"))):
        first, second = (read_checkpoint(folder / "checkpoints" / name) for folder in (whole, killed))
        for part in ("supernet", "average", "optimizer", "teacher"):
            _assert_equal(first.content[part], second.content[part])
        assert first.state.step == second.state.step
        assert first.state.best == second.state.best
    steps = [line["step"] for line in read_metrics(killed / "metrics.jsonl") if line["kind"] == "step"]
    assert steps == [line["step"] for line in read_metrics(whole / "metrics.jsonl") if line["kind"] == "step"]
    left = {path.relative_to(killed) for path in killed.rglob("*")}
    assert left == {path.relative_to(whole) for path in whole.rglob("*")}


def _assert_equal(first: Any, second: Any) -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            _assert_equal(first[name], second[name])
    elif isinstance(first, list):
        for one, other in zip(first, second, strict=True):
            _assert_equal(one, other)
    else:
        assert first == second


@pytest.mark.parametrize("method", CONFIGS)
def test_killed_five_times(method: str, uninterrupted: Any, tmp_path: Path) -> None:
    kill_and_finish(CONFIGS[method], tmp_path / "run", np.random.default_rng(SEED[method]), 5)
    check_same(uninterrupted(method), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("method", CONFIGS)
def test_killed_fifty_times(method: str, uninterrupted: Any, tmp_path: Path) -> None:
    random, killed, number = np.random.default_rng(100 + SEED[method]), 0, 0
    while killed < 50:
        number += 1
        killed += kill_and_finish(CONFIGS[method], tmp_path / f"{number}", random, 6)
        check_same(uninterrupted(method), tmp_path / f"{number}")

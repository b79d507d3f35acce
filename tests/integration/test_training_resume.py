"""A run that is killed anywhere and resumed ends with the same weights, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.errors import CheckpointError, OutputError
from ofa_toolkit.pipelines.training.run import train
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.metrics import read_metrics
from ofa_toolkit.training.reporting import Progress
from ofa_toolkit.training.trainer import TrainingStoppedError
from tests.integration.small_runs import (
    Recorder,
    differing,
    preload,
    run,
    small_config,
    train_in_child,
    weights,
)

# Every kind of state: channel sorting, moving average, momentum, dropout, a checkpoint within epochs.
CONFIG = small_config(
    {"name": "deps", "warmup_share": 0.5, "ramp_share": 0.5},
    training={"ema_decay": 0.9, "dropout": 0.2},
    checkpoints={"every_steps": 3},
    validation={"every_epochs": 3},
)
NUM_UPDATES = 16


def killed_at(points: list[int], config: RunConfig, out: Path) -> None:
    """Run in child processes, each killed at its next point, the last one left to finish."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload()))
    values = configuration.to_dict(config)
    resume = False
    for point in [*points, None]:
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=train_in_child, args=(values, str(out), resume, sender))
        child.start()
        sender.close()
        heard = _listen_until(receiver, point)
        if point is None:
            assert heard == "done"
        else:
            # SIGKILL while the child goes on: before, in or after the writing of a checkpoint.
            os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        resume = (out / "checkpoints").is_dir() and any((out / "checkpoints").glob("step-*.pt"))
        if not resume and point is not None:
            (out / "run.toml").unlink(missing_ok=True)


def _listen_until(receiver: Any, point: int | None) -> Any:
    while True:
        try:
            heard = receiver.recv()
        except EOFError:
            return None
        if heard == "done" or (point is not None and heard >= point):
            return heard


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result, _ = run(CONFIG, tmp_path_factory.mktemp("whole") / "run")
    return result.supernet


def test_killed_five_times(uninterrupted: Path, tmp_path: Path) -> None:
    points = sorted(int(p) for p in np.random.default_rng(7).choice(range(1, NUM_UPDATES), 5, replace=False))
    killed_at(points, CONFIG, tmp_path / "run")
    assert differing(weights(uninterrupted), weights(tmp_path / "run" / "supernet")) == []
    lines = [
        line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["kind"] == "step"
    ]
    assert lines == list(range(1, NUM_UPDATES + 1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_killed_fifty_times(uninterrupted: Path, tmp_path: Path, seed: int) -> None:
    points = sorted(
        int(p) for p in np.random.default_rng(seed).choice(range(1, NUM_UPDATES), 5, replace=False)
    )
    killed_at(points, CONFIG, tmp_path / "run")
    assert differing(weights(uninterrupted), weights(tmp_path / "run" / "supernet")) == []


def test_a_request_to_stop_writes_a_checkpoint(uninterrupted: Path, tmp_path: Path) -> None:
    class Stopping(Recorder):
        def progress(self, progress: Progress) -> None:
            super().progress(progress)
            if progress.step == 5:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStoppedError, match="Stopped after update 5"):
        train(CONFIG, tmp_path / "run", device="cpu", threads=1, reporter=Stopping())
    result, recorder = run(CONFIG, tmp_path / "run", resume=True)
    assert len(recorder.losses) == NUM_UPDATES - 5
    assert differing(weights(uninterrupted), weights(result)) == []


def test_a_started_run_is_not_overwritten(uninterrupted: Path) -> None:
    with pytest.raises(OutputError, match="holds a training run already"):
        run(CONFIG, uninterrupted.parent)


def test_resuming_with_other_settings_is_refused(uninterrupted: Path) -> None:
    other = small_config({"name": "deps", "warmup_share": 0.25, "ramp_share": 0.5})
    with pytest.raises(CheckpointError, match="was started with"):
        run(other, uninterrupted.parent, resume=True)


def test_a_damaged_checkpoint_is_named(uninterrupted: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(uninterrupted.parent, folder)
    newest = sorted((folder / "checkpoints").glob("step-*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=newest.name):
        run(CONFIG, folder, resume=True)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no training run|no checkpoint"):
        run(CONFIG, tmp_path, resume=True)

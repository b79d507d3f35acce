"""Checkpoints are whole or absent."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from ofa_toolkit.core.errors import CheckpointError
from ofa_toolkit.training.checkpoint import CheckpointStore, read_checkpoint
from ofa_toolkit.training.metrics import MetricsLog, read_metrics


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in range(5):
        store.save(step, {"step": step}, is_best=step == 1)
    assert [path.name for path in store.paths()] == ["step-000000003.pt", "step-000000004.pt"]
    assert read_checkpoint(tmp_path / "best.pt")["step"] == 1
    assert read_checkpoint(store.latest())["step"] == 4


def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    store.save(1, {"weights": torch.ones(3)})

    def full(_content: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left") as caught:
        store.save(2, {"weights": torch.ones(3)})
    assert "step-000000001.pt" in str(caught.value.hint)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]
    assert torch.equal(read_checkpoint(store.latest())["weights"], torch.ones(3))


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "other.pt")


def test_a_resumed_log_has_every_step_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, last_step=0, use_tensorboard=False)
    for step in range(1, 6):
        log.write("step", step, {"loss": float("nan") if step == 2 else 1.0})
    log.path.write_text(log.path.read_text() + '{"kind": "st')
    log = MetricsLog(tmp_path, last_step=3, use_tensorboard=False)
    log.write("step", 4, {"loss": 0.5})
    lines = read_metrics(log.path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["loss"] for line in lines] == [1.0, None, 1.0, 0.5]

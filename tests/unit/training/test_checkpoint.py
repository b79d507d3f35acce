"""Checkpoints are whole or absent, and a damaged one is never gone on from."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_toolkit.core.errors import CheckpointError, OutputError
from ofa_toolkit.training.checkpoint import (
    CheckpointStore,
    UnusableCheckpointError,
    read_checkpoint,
)
from ofa_toolkit.training.metrics import MetricsLog, read_metrics
from ofa_toolkit.training.state import Part, TrainState
from tests.heard import Heard


def content(step: int, **state: Any) -> dict[str, Any]:
    weights = torch.full((50,), float(step))
    return {
        "state": dataclasses.asdict(TrainState(step=step, epoch=step, **state)),
        "supernet": {"weight": weights},
        "optimizer": {"state": {0: {"momentum_buffer": weights}}},
        "scaler": {},
        "average": None,
        "teacher": None,
        "watch": {"mean": None, "best": float("inf")},
    }


def validated(step: int, top1: float) -> dict[str, Any]:
    return content(step, best=top1, accuracies={"largest": top1}, validated_epoch=step - 1)


def store_of(folder: Path, *steps: int, keep: int = 2) -> CheckpointStore:
    store = CheckpointStore(folder, keep=keep)
    for step in steps:
        store.save(step, content(step))
    return store


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in range(5):
        store.save(step, content(step), is_best=step == 1)
    assert [path.name for path in store.paths()] == ["step-000000003.pt", "step-000000004.pt"]
    assert read_checkpoint(tmp_path / "best.pt").state.step == 1
    assert store.newest(pytest.fail).state.step == 4
    assert store.newest(pytest.fail, before=4).state.step == 3
    assert store.newest(pytest.fail, before=3).state.step == 1
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        store.newest(pytest.fail, before=1)
    store.tidy(3)
    assert [path.name for path in store.paths()] == ["step-000000003.pt"]


def test_what_was_to_be_dropped_when_a_run_was_killed_is_dropped(tmp_path: Path) -> None:
    store_of(tmp_path, 1, 2, 3, keep=3)
    store = CheckpointStore(tmp_path, keep=2)
    store.tidy(3)
    assert [path.name for path in store.paths()] == ["step-000000002.pt", "step-000000003.pt"]


@pytest.mark.parametrize("is_best", [False, True])
def test_a_full_disk_leaves_the_last_good_one(
    is_best: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path, 1)

    def full(_content: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile" if is_best else "torch.save", full)
    with pytest.raises(CheckpointError, match="No space left") as caught:
        store.save(2, content(2), is_best=is_best)
    last = f"step-00000000{1 + is_best}.pt"
    assert last in str(caught.value.hint)
    assert sorted(path.name for path in tmp_path.iterdir())[-1] == last
    assert store.newest(pytest.fail).state.step == 1 + is_best


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EIO, "Input/output error"), "[Errno 5] Input/output error"),
        (RuntimeError("unexpected pos 64 vs 0\nmore"), "unexpected pos 64 vs 0"),
        (OutputError("It is full."), "It is full."),
    ],
)
def test_a_first_checkpoint_that_cannot_be_written(
    error: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError) as caught:
        CheckpointStore(tmp_path, keep=2).save(1, content(1))
    assert caught.value.message.endswith(f"step-000000001.pt': {reason}")
    assert caught.value.hint == "Free some space, or choose another --out."


def test_a_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    store = store_of(tmp_path, 1, 2)
    path, whole = store.path(2), store.path(2).read_bytes()
    random = np.random.default_rng(0)
    outcomes = set()
    for place in [
        *random.choice(len(whole), 150, replace=False),
        *(whole.find(b"\0\0\0@\0\0") + i for i in (3, 7)),
    ]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << random.integers(8)]) + whole[place + 1 :])
        step = store.newest(lambda _text: None).state.step
        outcomes.add(step)
        if step == 2:
            assert torch.equal(read_checkpoint(path).content["supernet"]["weight"], torch.full((50,), 2.0))
    assert outcomes == {1, 2}


DAMAGE = {
    "empty": b"",
    "cut off": None,
    "text": b"not a checkpoint",
    "of somebody else": {"state_dict": {}},
    "missing key": {name: value for name, value in content(2).items() if name != "optimizer"},
    "missing state": {**content(2), "state": {"step": 2}},
    "odd state": {**content(2), "state": [2]},
    "odd text": {**content(2), "state": ["abc"]},
    "odd parts": {**content(2), "state": {"parts": {"a": 1}}},
    "not finite": {**content(2), "supernet": {"weight": torch.tensor([1.0, float("nan")])}},
    "infinite momentum": {**content(2), "optimizer": {"state": {0: {"b": torch.tensor(float("inf"))}}}},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_one_before_a_damaged_one_is_taken(damage: str, tmp_path: Path) -> None:
    store = store_of(tmp_path, 1, 2)
    bad, path = DAMAGE[damage], store.path(2)
    if isinstance(bad, dict):
        tag = {} if damage == "of somebody else" else {"format": "ofa-toolkit/checkpoint", "version": 2}
        torch.save({**tag, **bad}, path)
    else:
        path.write_bytes(path.read_bytes()[:1000] if bad is None else bad)
    told: list[str] = []
    assert store.newest(told.append).state.step == 1
    assert len(told) == 1
    assert path.name in told[0]
    assert "Going back to 'step-000000001.pt', update 1." in told[0]
    with pytest.raises(UnusableCheckpointError):
        read_checkpoint(path)


def test_the_best_is_taken_where_it_is_the_newest_that_is_whole(tmp_path: Path) -> None:
    store = store_of(tmp_path, 1)
    store.save(2, content(2), is_best=True)
    store.path(2).write_bytes(b"")
    told: list[str] = []
    assert store.newest(told.append).path.name == "best.pt"
    assert "Going back to 'best.pt', update 2." in told[0]


def test_no_good_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    store = store_of(tmp_path, 1, 2)
    for path in store.paths():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="can be used") as caught:
        store.newest(pytest.fail)
    assert f"rm -r {tmp_path}" in str(caught.value.hint)


def test_a_newer_release_is_not_passed_over(tmp_path: Path) -> None:
    store = store_of(tmp_path, 1, 2)
    torch.save({"format": "ofa-toolkit/checkpoint", "version": 3, **content(2)}, store.path(2))
    with pytest.raises(CheckpointError, match="version 3; this release reads version 1 or 2"):
        store.newest(pytest.fail)


def test_the_first_version_is_read(tmp_path: Path) -> None:
    old = content(5)
    del old["state"]["parts"]
    old["state"] |= {"phase_steps": {"training": 5}, "phase_seconds": {"training": 2.5}}
    torch.save({"format": "ofa-toolkit/checkpoint", "version": 1, **old}, tmp_path / "step-000000005.pt")
    state = CheckpointStore(tmp_path, keep=2).newest(pytest.fail).state
    assert state.phase_steps == {"training": 5}
    text = state.begin_part(Part(num_devices=2, device="cpu", threads=1))
    assert "counted as on 2, as now" in str(text)
    assert state.phase_device_seconds == {"training": 5.0}


class TestBest:
    """`best.pt` is what the checkpoint that a run goes on from says."""

    def test_killed_before_the_copy(self, tmp_path: Path) -> None:
        store = CheckpointStore(tmp_path, keep=2)
        store.save(1, validated(1, 40.0), is_best=True)
        store.save(2, validated(2, 50.0))
        store.mend_best(store.newest(pytest.fail), pytest.fail)
        assert read_checkpoint(tmp_path / "best.pt").state.step == 2

    def test_killed_before_the_copy_of_a_phase_that_is_no_better(self, tmp_path: Path) -> None:
        store = CheckpointStore(tmp_path, keep=2)
        store.save(1, validated(1, 40.0), is_best=True)
        second = validated(2, 40.0)
        second["state"]["begun_phase"] += 1
        store.save(2, second)
        store.mend_best(store.newest(pytest.fail), pytest.fail)
        assert read_checkpoint(tmp_path / "best.pt").state.step == 2

    def test_left_alone_where_right(self, tmp_path: Path) -> None:
        store = CheckpointStore(tmp_path, keep=2)
        store.save(1, validated(1, 40.0), is_best=True)
        store.save(2, content(2, best=40.0, accuracies={"largest": 30.0}, validated_epoch=1))
        before = (tmp_path / "best.pt").read_bytes()
        store.mend_best(store.newest(pytest.fail), pytest.fail)
        assert (tmp_path / "best.pt").read_bytes() == before

    def test_of_a_later_update_that_is_undone(self, tmp_path: Path) -> None:
        for accuracy, is_mended in ((40.0, True), (30.0, False)):
            store = CheckpointStore(tmp_path / str(accuracy), keep=2)
            store.save(1, validated(1, 60.0), is_best=True)
            store.save(2, content(2, best=40.0, accuracies={"largest": accuracy}, validated_epoch=1))
            told: list[str] = []
            checkpoint = store.newest(pytest.fail)
            store.mend_best(checkpoint, told.append)
            if is_mended:
                assert read_checkpoint(store.folder / "best.pt").state.step == 2
                assert (told, checkpoint.state.best) == ([], 40)
            else:
                assert "is another run's or stems from a later update; the best checkpoint is" in told[0]
                assert checkpoint.state.best == -1

    @pytest.mark.parametrize(("best", "is_copied"), [(-1.0, False), (0.0, True), (0.5, True)])
    def test_only_what_was_measured_is_looked_for(self, best: float, is_copied: bool, tmp_path: Path) -> None:
        store = CheckpointStore(tmp_path, keep=2)
        store.save(2, validated(2, best))
        store.mend_best(store.newest(pytest.fail), pytest.fail)
        assert (tmp_path / "best.pt").exists() == is_copied

    def test_weights_that_were_trained_on_are_not_the_best(self, tmp_path: Path) -> None:
        store = CheckpointStore(tmp_path, keep=2)
        store.save(2, content(2, best=40.0, accuracies={"largest": 40.0}, validated_epoch=1, step_in_epoch=1))
        told: list[str] = []
        store.mend_best(store.newest(pytest.fail), told.append)
        assert "is missing or damaged" in told[0]
        assert not (tmp_path / "best.pt").exists()

    def test_lost(self, tmp_path: Path) -> None:
        store = CheckpointStore(tmp_path, keep=2)
        store.save(1, validated(1, 40.0), is_best=True)
        store.save(2, content(2, best=40.0, accuracies={"largest": 30.0}, validated_epoch=1))
        (tmp_path / "best.pt").write_bytes(b"")
        told: list[str] = []
        checkpoint = store.newest(pytest.fail)
        store.mend_best(checkpoint, told.append)
        assert "looked for again" in told[0]
        assert checkpoint.state.best == -1.0


def test_time_is_counted_by_part() -> None:
    state = TrainState()
    one, two = (Part(num_devices=n, device="cpu", threads=1) for n in (1, 2))
    assert state.begin_part(dataclasses.replace(two)) is None
    state.parts[-1].count("training", 3.0, 2.0)
    assert state.begin_part(dataclasses.replace(two)) is None
    assert "2 process(es) before, 1 now" in str(state.begin_part(one))
    state.parts[-1].count("training", 5.0, 4.0)
    assert state.phase_steps == {"training": 2}
    assert state.phase_seconds == {"training": 8.0}
    assert state.phase_device_seconds == {"training": 11.0}
    assert state.phase_processor_seconds == {"training": 8.0}
    assert TrainState.from_dict(dataclasses.asdict(state)) == state


def test_time_that_a_rollback_undid_is_paid_for() -> None:
    part = Part(num_devices=2, device="cpu", threads=1)
    saved = TrainState(parts=[dataclasses.replace(part, steps={"a": 1}, seconds={"a": 3.0})])
    ruined = TrainState(parts=[dataclasses.replace(part, steps={"a": 3}, seconds={"a": 10.0})])
    ruined.parts.append(Part(num_devices=1, device="cpu", threads=1, steps={"b": 1}, seconds={"b": 4.0}))
    saved.keep_time_of(ruined)
    assert (saved.phase_steps, saved.phase_seconds) == ({"a": 1}, {"a": 3.0})
    assert saved.phase_device_seconds == {"a": 20.0, "b": 4.0}
    again = TrainState(parts=[dataclasses.replace(part, steps={"a": 1}, seconds={"a": 3.0})])
    again.keep_time_of(saved)
    assert again.phase_device_seconds == {"a": 20.0, "b": 4.0}
    assert TrainState.from_dict(dataclasses.asdict(again)) == again


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


@pytest.mark.parametrize(
    "damaged", [b"\xff\xfe", b"\0\0\0", b"[]", b"{}", b'{"kind": "step"}', b"7", b"[" * 9000]
)
def test_a_damaged_line_is_dropped_with_a_word(damaged: bytes, tmp_path: Path) -> None:
    lines = [json.dumps({"kind": "step", "step": step}).encode() for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([lines[0], damaged, *lines[1:]]) + b"\n")
    heard = Heard()
    log = MetricsLog(tmp_path, last_step=3, use_tensorboard=False, reporter=heard)
    assert [line["step"] for line in read_metrics(log.path)] == [1, 2, 3]
    assert len(heard.messages) == 1
    assert "line(s) 2" in heard.messages[0]

"""When a run is kept, who may train into its folder, and what a classifier's probe leaves out."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from ofa_toolkit.core.errors import CheckpointError, TrainingError
from ofa_toolkit.spaces import get_space, restrict
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training import checkpointer as checkpointer_module
from ofa_toolkit.training import run_lock
from ofa_toolkit.training.checkpoint import read_checkpoint
from ofa_toolkit.training.checkpointer import Checkpointer
from ofa_toolkit.training.config import from_values
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.divergence import DivergenceWatch
from ofa_toolkit.training.learner import Learner
from ofa_toolkit.training.probe import fit_classifier
from ofa_toolkit.training.state import Part

SPACE = restrict(get_space("mobilenet-v3-compact"), depths=[1], kernel_sizes=[3]).with_num_classes(2)
SPACE = SPACE.with_resolutions((8,))


class Images:
    """Knows what it holds."""

    name = "photos"

    def fingerprint(self) -> dict[str, str]:
        return {"classes": "1", "train": "2", "validation": "3"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that have passed."""
    passed = [1000.0]

    class Time:
        @staticmethod
        def monotonic() -> float:
            return passed[0]

    monkeypatch.setattr(checkpointer_module, "time", Time)
    return passed


class Kept(NamedTuple):
    """A keeper and what it keeps."""

    keeper: Checkpointer
    told: list[str]
    learner: Learner
    watch: DivergenceWatch


def made(folder: Path, **checkpoints: Any) -> Kept:
    config = from_values(
        {
            "space": {"name": "mobilenet-v3-compact"},
            "algorithm": {"name": "bignas"},
            "training": {"epochs": 2, "batch_size": 8},
            "schedule": {"learning_rate": 0.1},
            "checkpoints": checkpoints,
        }
    )
    told: list[str] = []
    torch.manual_seed(0)
    learner = Learner(config, Supernet(SPACE), Process())
    dataset: Any = Images()
    watch = DivergenceWatch(2, 5)
    keeper = Checkpointer(config, folder, dataset, learner, watch, None, Process(), told.append)
    return Kept(keeper, told, learner, watch)


def test_when_a_checkpoint_is_due(tmp_path: Path, clock: list[float]) -> None:
    keeper = made(tmp_path, every_minutes=2).keeper
    for seconds, is_due in ((0, False), (119, False), (120, False), (121, True)):
        clock[0] = 1000 + seconds
        keeper.state.step = 6
        assert keeper.is_due() == is_due
    keeper.save()
    assert not keeper.is_due()
    clock[0] += 121
    assert keeper.is_due()
    keeper = made(tmp_path, every_minutes=2, every_steps=3).keeper
    due = []
    for step in range(1, 8):
        keeper.state.step = step
        due.append(keeper.is_due())
    assert due == [False, False, True, False, False, True, False]


def test_a_checkpoint_brings_back_state_weights_and_watch(tmp_path: Path) -> None:
    keeper, told, learner, watch = made(tmp_path)
    keeper.begin_part()
    assert told == []
    keeper.state.step, keeper.state.epoch = 7, 1
    watch.check((1.5,))
    keeper.save(is_best=True)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.pt",
        "step-000000007.pt",
    ]
    other, told, other_learner, other_watch = made(tmp_path)
    with torch.no_grad():
        next(other_learner.supernet.parameters()).add_(1.0)
    assert other.restore().name == "step-000000007.pt"
    assert (other.state.step, other.state.epoch) == (7, 1)
    assert (other_watch.mean, other_watch.best) == (1.5, 1.5)
    torch.testing.assert_close(other_learner.state_dict(), learner.state_dict())
    other.state.parts = [Part(num_devices=4, device="cpu", threads=torch.get_num_threads())]
    other.begin_part()
    assert told[0].startswith(
        "Going on with 4 process(es) before, 1 now: the weights will not be bit for bit"
    )
    assert len(told) == 1
    assert [part.num_devices for part in other.state.parts] == [4, 1]


def test_going_back_leaves_the_best_as_it_is(tmp_path: Path) -> None:
    keeper, told, _, _ = made(tmp_path)
    for step in (1, 2):
        keeper.state.step = keeper.state.epoch = step
        keeper.state.best, keeper.state.accuracies = 40.0 + step, {"largest": 40.0 + step}
        keeper.state.validated_epoch = step - 1
        keeper.save(is_best=True)
    best = (tmp_path / "checkpoints" / "best.pt").read_bytes()
    assert keeper.restore(before=2).name == "step-000000001.pt"
    assert (keeper.state.step, keeper.state.best) == (1, 41)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "best.pt",
        "step-000000001.pt",
    ]
    assert (tmp_path / "checkpoints" / "best.pt").read_bytes() == best
    # One that is resumed there knows of no later update.
    assert made(tmp_path).keeper.restore().name == "step-000000001.pt"
    assert read_checkpoint(tmp_path / "checkpoints" / "best.pt").state.step == 1
    assert told == []


@pytest.mark.parametrize(
    "changes",
    [
        {"supernet": None},  # TypeError
        {"supernet": {}},  # RuntimeError
        {"optimizer": None},  # AttributeError
        {"optimizer": {"state": {}}},  # LookupError
        {"optimizer": {"state": {}, "param_groups": []}},  # ValueError
        {"watch": {"mean": None, "best": None}},  # AssertionError
        {"teacher": {}},
    ],
)
def test_a_checkpoint_of_another_run_is_named(changes: dict[str, Any], tmp_path: Path) -> None:
    keeper, _, learner, watch = made(tmp_path)
    data = Images().fingerprint()
    state = dataclasses.asdict(keeper.state)
    content = {"state": state, "data": data, "watch": watch.state_dict(), **learner.state_dict()}
    keeper.store.save(0, {**content, **changes})
    with pytest.raises(CheckpointError, match=r"step-000000000\.pt' does not fit the run of"):
        keeper.restore()
    keeper.store.save(0, content)
    assert keeper.restore().name == "step-000000000.pt"


def test_images_are_compared_where_the_checkpoint_knows_them(tmp_path: Path) -> None:
    keeper, told, learner, watch = made(tmp_path)
    content = {
        "state": dataclasses.asdict(keeper.state),
        "watch": watch.state_dict(),
        **learner.state_dict(),
    }
    keeper.store.save(0, content)
    keeper.restore()
    [text] = told
    assert text.startswith("'step-000000000.pt' is of an earlier release and does not say on which images")
    keeper.store.save(0, {**content, "data": {"classes": "9"}})
    with pytest.raises(CheckpointError, match="was trained on other images than photos"):
        keeper.restore()


def test_damage_is_found_before_it_is_kept(tmp_path: Path) -> None:
    keeper, _, learner, _ = made(tmp_path)
    assert keeper.find_damage() is None
    with torch.no_grad():
        learner.supernet.layer("stem.conv").weighted.weight[0, 0, 0, 0] = float("nan")
    assert keeper.find_damage() == "'supernet.stem.conv.conv.weight' is not finite"


class TestLock:
    """One process a folder."""

    def test_a_folder_that_stays_empty_goes_again(self, tmp_path: Path) -> None:
        folder = tmp_path / "deep" / "run"
        with run_lock.held(folder):
            described = json.loads((folder / run_lock.LOCK_FILE).read_text())
            assert described.keys() == {"process", "host", "since"}
            assert described["process"] == os.getpid()
        assert not folder.exists()
        assert folder.parent.exists()

    def test_a_folder_with_files_stays(self, tmp_path: Path) -> None:
        with run_lock.held(tmp_path / "run"):
            (tmp_path / "run" / "kept").touch()
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["kept"]
        (tmp_path / "old").mkdir()
        with run_lock.held(tmp_path / "old"):
            pass
        assert (tmp_path / "old").is_dir()

    def test_an_error_leaves_no_lock(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError), run_lock.held(tmp_path):
            raise KeyError
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("text", "holder"),
        [
            ('{"process": 7, "host": "here", "since": "noon"}', "process 7 on here since noon"),
            ("", "another process"),
            ("[]", "another process"),
            ('{"process": 7}', "another process"),
            ("[" * 100_000, "another process"),
        ],
    )
    @pytest.mark.parametrize("refusal", [BlockingIOError, PermissionError])
    def test_the_holder_is_named(
        self,
        text: str,
        holder: str,
        refusal: type[Exception],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / run_lock.LOCK_FILE).write_text(text)

        def refuse(*_: object) -> None:
            raise refusal

        monkeypatch.setattr("fcntl.lockf", refuse)
        with (
            pytest.raises(TrainingError, match=f"is being trained into by {holder}"),
            run_lock.held(tmp_path),
        ):
            pass

    def test_what_a_killed_process_left_is_written_over(self, tmp_path: Path) -> None:
        (tmp_path / run_lock.LOCK_FILE).write_text("x" * 500)
        with run_lock.held(tmp_path):
            assert json.loads((tmp_path / run_lock.LOCK_FILE).read_text())["process"] == os.getpid()

    def test_a_file_that_was_removed_meanwhile_holds_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The one before removes its file between the opening and the lock; then another takes its place."""
        path, locked, asked = tmp_path / run_lock.LOCK_FILE, fcntl.lockf, []

        def lock(file: Any, flags: int) -> None:
            locked(file, flags)
            asked.append(file)
            if len(asked) < 3:
                path.unlink()
            if len(asked) == 2:
                path.touch()

        monkeypatch.setattr("fcntl.lockf", lock)
        with run_lock.held(tmp_path):
            assert len(asked) == 3
            assert [file.closed for file in asked] == [True, True, False]
            assert os.path.samestat(os.fstat(asked[2].fileno()), path.stat())
        assert asked[2].closed

    def test_two_processes_do_not_wait_for_each_other(self, tmp_path: Path) -> None:
        program = (
            "import fcntl, sys; file = open(sys.argv[1], 'a+'); fcntl.lockf(file, fcntl.LOCK_EX)\n"
            "print('locked', flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", program, str(tmp_path / run_lock.LOCK_FILE)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "locked\n"
            with pytest.raises(TrainingError, match="by another process"), run_lock.held(tmp_path):
                pass
            other.communicate()
        with run_lock.held(tmp_path):
            pass


def test_a_probe_judges_images_while_they_are_left_out() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SPACE)
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(12, 3, 8, 8, generator=generator), torch.arange(12) % 2
    # Noise: every image is fitted, but nothing is known of those left out.
    score = fit_classifier(supernet, SPACE.largest(), [(images, labels)], seed=0)
    assert 20 <= score <= 80
    with torch.no_grad():
        predicted = supernet.eval()(images, SPACE.largest()).argmax(1)
    assert (predicted == labels).float().mean() > 0.9
    # One colour for each class is known at once, of a single image too.
    plain = torch.stack([torch.full((3, 8, 8), -1.0), torch.full((3, 8, 8), 1.0)]).repeat(3, 1, 1, 1)
    assert fit_classifier(supernet, SPACE.largest(), [(plain, torch.arange(6) % 2)], seed=0) == 100

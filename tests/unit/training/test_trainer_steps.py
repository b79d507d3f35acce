"""The loop by a learner that computes nothing: what is asked of it, when, and what is made of its losses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
import torch

from ofa_toolkit.core.errors import TrainingError
from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.datasets import open_dataset
from ofa_toolkit.evaluation.accuracy import Accuracy
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training import trainer as trainer_module
from ofa_toolkit.training.checkpoint import read_checkpoint
from ofa_toolkit.training.config import from_values
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.learner import Learner
from ofa_toolkit.training.metrics import read_metrics
from ofa_toolkit.training.step import StepResult
from ofa_toolkit.training.trainer import Trainer, TrainingStoppedError
from tests.heard import Heard

T = TypeVar("T")

CHANCE = 1.386
"""Loss of guessing among four classes."""


class Scripted:
    """Runs of four updates an epoch on 32 images of 8 or 12 pixels.

    Attributes:
        asked: Keyword arguments of each update.
        losses: Of each update by its number, from 0; 1 where none is given. Each is used once.
        accuracies: Of each validation in turn: of the smallest and the largest network.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.asked: list[dict[str, Any]] = []
        self.losses: dict[int, float] = {}
        self.accuracies: list[tuple[float, float]] = []
        self.validated: list[int] = []
        self.heard = Heard()
        self.trainer: Trainer | None = None
        monkeypatch.setattr(Learner, "update", lambda _, *given, **options: self._update(*given, **options))
        monkeypatch.setattr(trainer_module, "validate", self._validate)

    def _update(self, passes: Any, batch: Any, **options: Any) -> StepResult:
        assert self.trainer is not None
        step = self.trainer.state.step
        self.asked.append({"step": step, "passes": passes, "size": batch[0].shape[-1], **options})
        losses = torch.full((len(passes),), 9.0)
        losses[0] = self.losses.pop(step, 1.0)
        norm = 2.0 if options["records_norms"] else None
        return StepResult(losses=losses, num_correct=torch.tensor(2.0), first_norm=norm, total_norm=norm)

    def _validate(self, *_given: Any, recalibrates: bool) -> dict[str, Accuracy]:
        assert self.trainer is not None
        assert recalibrates
        self.validated.append(self.trainer.state.epoch)
        pair = self.accuracies.pop(0) if self.accuracies else (40.0, 60.0)
        return {
            name: Accuracy(top1_percent=percent, loss=0.0, num_images=8)
            for name, percent in zip(("smallest", "largest"), pair, strict=True)
        }

    def prepare(self, process: Process | None = None, on_epoch_end: Any = None, **settings: Any) -> Trainer:
        values: dict[str, Any] = {
            "space": {
                "name": "mobilenet-v3-compact",
                "resolutions": [8],
                "depths": [1],
                "kernel_sizes": [3],
                "expand_ratios": [3],
            },
            "algorithm": {"name": "bignas", "num_networks": 2},
            "training": {"epochs": 3, "batch_size": 8},
            "schedule": {"learning_rate": 0.3, "kind": "constant"},
            "checkpoints": {"keep": 99},
            "tensorboard": False,
        }
        for path, value in settings.items():
            table, _, name = path.partition("__")
            if name:
                values.setdefault(table, {})[name] = value
            else:
                values[table] = value
        config = from_values(json.loads(json.dumps(values)))  # as from a file
        dataset = open_dataset("fake:classes=4,size=12,train=40,test=4", validation_size=8)
        space = config.space.trained(4)
        torch.manual_seed(0)
        self.trainer = Trainer(
            config,
            config.algorithm.build(config, space),
            Supernet(space),
            dataset,
            self.folder,
            process=process,
            reporter=self.heard,
            on_epoch_end=on_epoch_end,
        )
        return self.trainer

    @property
    def checkpoints(self) -> list[int]:
        return [
            int(path.stem.removeprefix("step-")) for path in (self.folder / "checkpoints").glob("step-*.pt")
        ]

    def lines(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in read_metrics(self.folder / "metrics.jsonl") if line["kind"] == kind]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    return Scripted(tmp_path / "run", monkeypatch)


def test_a_run_from_start_to_end(script: Scripted) -> None:
    ended: list[tuple[int, int]] = []
    trainer = script.prepare(
        on_epoch_end=lambda trainer, epoch: ended.append((epoch, trainer.state.step)),
        schedule__kind="cosine",
        validation__every_epochs=2,
        training__record_gradients_every=5,
    )
    assert (trainer.steps_per_epoch, trainer.num_steps) == (4, 12)
    state = trainer.run()
    assert [asked["step"] for asked in script.asked] == list(range(12))
    assert (state.epoch, state.step_in_epoch, state.step, state.begun_phase) == (3, 0, 12, 0)
    # Half a cosine over twelve updates: 3/4 of the rate after a third.
    rates = [asked["rate"] for asked in script.asked]
    assert (rates[0], rates[4], rates[6]) == pytest.approx((0.3, 0.225, 0.15))
    assert [asked["step"] for asked in script.asked if asked["records_norms"]] == [0, 5, 10]
    assert len({asked["seed"] for asked in script.asked}) == 12
    assert [[item.role for item in asked["passes"]] for asked in script.asked] == [
        ["largest", "smallest"]
    ] * 12
    # After two epochs and after the last.
    assert script.validated == [1, 2]
    assert state.validated_epoch == 2
    assert ended == [(0, 4), (1, 8), (2, 12)]
    assert sorted(script.checkpoints) == [0, 4, 8, 12]
    assert state.phase_steps == {"training": 12}
    steps = script.lines("step")
    assert [line["step"] for line in steps] == list(range(1, 13))
    assert (steps[5]["epoch"], steps[5]["train_accuracy"], steps[5]["loss_0_largest"]) == (1, 25, 1)
    assert (steps[5]["phase"], steps[5]["gradient_norm"], steps[5]["first_gradient_norm"]) == (
        "training",
        2,
        2,
    )
    assert "gradient_norm" not in steps[4]
    assert [line["learning_rate"] for line in steps] == rates
    epochs = script.lines("epoch")
    assert [(line["step"], line["epoch"], "top1_largest" in line) for line in epochs] == [
        (4, 0, False),
        (8, 1, True),
        (12, 2, True),
    ]
    assert (epochs[1]["top1_smallest"], epochs[1]["num_validation_images"]) == (40, 8)
    assert [line["epoch"] for line in script.lines("phase")] == [0]
    told = [text for text in script.heard.messages if "validation" in text]
    assert told[0].startswith("epoch 2/3 (training): validation top-1 % smallest 40.00 (95 % interval")
    progress: list[Progress] = script.heard.steps
    assert [(each.done, each.total) for each in progress] == [(step, 12) for step in range(1, 13)]
    assert progress[4].what == "epoch 2/3 training"
    assert progress[0].seconds_left is not None


def test_the_best_is_the_first_of_the_best_means(script: Scripted) -> None:
    script.accuracies = [(40, 60), (45, 55), (20, 70)]
    state = script.prepare().run()
    assert (state.best, state.mean_accuracy) == (50, 45)
    assert read_checkpoint(script.folder / "checkpoints" / "best.pt").state.step == 4
    script.accuracies = [(0, 0), (30, 50), (50, 31)]
    script.folder = script.folder.parent / "other"
    state = script.prepare().run()
    assert state.best == 40.5
    assert read_checkpoint(script.folder / "checkpoints" / "best.pt").state.step == 12


@pytest.mark.parametrize(("every", "validated"), [(1, [0, 1, 2, 3, 4]), (3, [2, 4]), (9, [4])])
def test_every_so_many_epochs_and_the_last_are_validated(
    every: int, validated: list[int], script: Scripted
) -> None:
    script.prepare(validation__every_epochs=every, training__epochs=5).run()
    assert script.validated == validated


def test_checkpoints_by_steps_and_losses_read_later(script: Scripted) -> None:
    script.prepare(checkpoints__every_steps=3, training__read_losses_every=2).run()
    assert sorted(script.checkpoints) == [0, 3, 4, 6, 8, 9, 12]
    # Losses are read at even updates, before checkpoints and at the ends of epochs; progress is told then.
    assert [each.done for each in script.heard.steps] == [2, 3, 4, 6, 8, 9, 10, 12]
    assert [line["step"] for line in script.lines("step")] == list(range(1, 13))


def test_going_back_lowers_the_rate(script: Scripted) -> None:
    script.losses = {6: float("nan")}
    state = script.prepare(divergence__rate_factor=0.25).run()
    # The seventh update's loss is of the weights after six: the checkpoint after four is the newest before.
    assert [asked["step"] for asked in script.asked] == [*range(7), *range(4, 12)]
    assert [asked["rate"] for asked in script.asked] == pytest.approx([0.3] * 7 + [0.075] * 8)
    assert (state.rollbacks, state.rate_factor, state.step) == (1, 0.25, 12)
    [told] = [text for text in script.heard.messages if "diverged" in text]
    assert told == (
        "Training diverged at epoch 2/3, update 7: the loss is nan. Back to 'step-000000004.pt' "
        "with the rate times 0.25."
    )
    [line] = script.lines("divergence")
    assert (line["epoch"], line["problem"]) == (1, "the loss is nan")


def test_going_back_often_enough_ends_the_run(script: Scripted) -> None:
    script.losses = {5: float("inf"), 9: float("inf")}
    with pytest.raises(
        TrainingError, match=r"epoch 3/3, update 10: the loss is inf\. Rollbacks so far: 1\."
    ) as caught:
        script.prepare().run()
    assert "schedule.learning_rate=0.075" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("update", "message", "hint"),
    [
        (0, "There is no checkpoint from before that", "No update was made before"),
        (1, None, None),
    ],
)
def test_a_loss_that_is_wrong_at_once(
    update: int, message: str | None, hint: str | None, script: Scripted
) -> None:
    script.losses = {update: float("nan")}
    if message is None:
        # After one update the weights of the start are still there.
        assert script.prepare().run().rollbacks == 1
        script.losses, script.folder = {update: float("nan")}, script.folder.parent / "other"
        with pytest.raises(TrainingError, match="Rollbacks so far: 0") as caught:
            script.prepare(divergence__rollbacks=0).run()
        assert "Train with a lower rate" in str(caught.value.hint)
        return
    with pytest.raises(TrainingError, match=message) as caught:
        script.prepare().run()
    assert str(hint) in str(caught.value.hint)


def test_a_jump_to_chance_is_noticed(script: Scripted) -> None:
    # The first pass alone is watched: the other has a loss of 9 throughout.
    script.losses = {5: 2 * CHANCE}
    trainer = script.prepare(divergence__window=4)
    trainer.run()
    assert trainer.state.rollbacks == 1
    assert any("that of guessing (1.386)" in text for text in script.heard.messages)


def test_a_validation_that_is_no_number(script: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [float("nan"), 0.0]

    def validate(*_given: Any, **_options: Any) -> dict[str, Accuracy]:
        return {"largest": Accuracy(top1_percent=50, loss=results.pop(0) if results else 0.0, num_images=8)}

    monkeypatch.setattr(trainer_module, "validate", validate)
    state = script.prepare().run()
    assert state.rollbacks == 1
    assert [asked["step"] for asked in script.asked] == [*range(4), *range(12)]
    assert any("the validation loss of 'largest' is not finite" in text for text in script.heard.messages)


def test_a_request_to_stop_is_answered_after_the_update(script: Scripted) -> None:
    trainer = script.prepare()
    original = script.heard.progress

    def progress(each: Progress) -> None:
        original(each)
        trainer.stop_requested = each.done == 5

    script.heard.progress = progress  # type: ignore[method-assign]
    with pytest.raises(TrainingStoppedError, match="Stopped after update 5") as caught:
        trainer.run()
    assert caught.value.exit_code == 130
    assert sorted(script.checkpoints) == [0, 4, 5]
    again = script.prepare()
    assert again.checkpointer.restore().name == "step-000000005.pt"
    script.asked.clear()
    again.run()
    assert [asked["step"] for asked in script.asked] == list(range(5, 12))
    assert [line["step"] for line in script.lines("step")] == list(range(1, 13))


def test_sizes_are_drawn_anew_for_each_update(script: Scripted) -> None:
    script.prepare(space__resolutions=[8, 12]).run()
    sizes = [asked["size"] for asked in script.asked]
    assert set(sizes) == {8, 12}
    assert all(item.subnet.resolution == asked["size"] for asked in script.asked for item in asked["passes"])
    assert sizes[:4] != sizes[4:8] or sizes[4:8] != sizes[8:]
    script.asked.clear()
    script.folder = script.folder.parent / "other"
    script.prepare(space__resolutions=[8, 12]).run()
    assert [asked["size"] for asked in script.asked] == sizes


@pytest.mark.parametrize(
    ("world_size", "accumulation", "fits"), [(1, 8, True), (2, 4, True), (3, 1, False), (4, 4, False)]
)
def test_batches_are_shared_equally(world_size: int, accumulation: int, fits: bool, script: Scripted) -> None:
    process = Process(world_size=world_size)
    if fits:
        script.prepare(process, training__accumulation=accumulation)
        return
    with pytest.raises(TrainingError, match=rf"8 cannot be shared equally by {world_size} processes in"):
        script.prepare(process, training__accumulation=accumulation)


class Pair(Process):
    """The main one of two processes whose other one sends nothing."""

    def any(self, flag: bool) -> bool:
        return flag

    def average_buffers(self, module: torch.nn.Module) -> None:
        pass

    def from_main(self, action: Callable[[], T]) -> T:
        return action()

    def barrier(self) -> None:
        pass


class Clock:
    """Stands still but for what is said to pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    process_time = monotonic


def timed(
    script: Scripted, monkeypatch: pytest.MonkeyPatch, *, seconds: float, waits: float = 0.0, **given: Any
) -> Trainer:
    """Updates that take so many seconds each, of which they wait a share for images."""
    clock = Clock()
    monkeypatch.setattr(trainer_module, "time", clock)
    trainer = script.prepare(**given)
    epoch, update = trainer.dataset.epoch, trainer.learner.update

    def slow_epoch(*given: Any, **options: Any) -> Any:
        for batch in epoch(*given, **options):
            clock.now += waits * seconds
            yield batch

    def slow_update(*given: Any, **options: Any) -> StepResult:
        clock.now += (1 - waits) * seconds
        return update(*given, **options)

    monkeypatch.setattr(trainer.dataset, "epoch", slow_epoch)
    monkeypatch.setattr(trainer.learner, "update", slow_update)
    return trainer


@pytest.mark.parametrize(
    ("waits", "seconds", "workers", "advice"),
    [
        (0.2, 1, 0, None),
        (0.25, 1, 0, None),
        (0.5, 1, 0, "data.num_workers=1"),
        (0.5, 1, 1, "data.num_workers=2"),
        (0.5, 1, 3, "data.num_workers=6"),
        (0.5, 0.125, 3, "data.num_workers=6"),
    ],
)
def test_slow_images_are_told(
    waits: float,
    seconds: float,
    workers: int,
    advice: str | None,
    script: Scripted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = timed(script, monkeypatch, seconds=seconds, waits=waits, data__num_workers=workers)
    trainer.run()
    told = [text for text in script.heard.messages if "waiting for images" in text]
    assert len(told) == (3 if advice else 0)
    if advice:
        assert told[0].startswith("epoch 1/3: 50 % of the time went into waiting")
        assert told[0].endswith(advice)
    assert [line["data_share"] for line in script.lines("epoch")] == pytest.approx([waits] * 3)
    # An update takes its images and its work.
    assert trainer.state.phase_seconds["training"] == pytest.approx(12 * seconds)
    assert trainer.state.phase_processor_seconds["training"] == pytest.approx(12 * seconds)
    facts = [each.facts for each in script.heard.steps]
    # Eight images an update.
    assert facts[3] == f"loss 1.000  {8 / seconds:.0f} images/s"
    assert script.heard.steps[3].seconds_left == pytest.approx(8 * seconds)


def test_an_epoch_in_no_time(script: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = timed(script, monkeypatch, seconds=0)
    trainer.run()
    assert [line["data_share"] for line in script.lines("epoch")] == [0, 0, 0]
    assert script.heard.steps[0].seconds_left is None


def test_the_rate_of_images_is_of_all_processes_since_the_start(
    script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = timed(script, monkeypatch, seconds=0.5, process=Pair(world_size=2))
    trainer.state.step = trainer.state.step_in_epoch = 2
    trainer.run()
    # Two halves of eight images each half a second, also where the epoch began with its third update.
    assert {each.facts.partition("  ")[2] for each in script.heard.steps} == {"16 images/s"}
    assert len(script.heard.steps) == 10


class TestTwoPhases:
    """Eight updates of the largest network alone, then four of several: DϵpS."""

    SETTINGS: ClassVar[dict[str, Any]] = {
        "algorithm": {"name": "deps", "warmup_share": 2 / 3, "num_networks": 2, "ramp_share": 0.01},
        "space__resolutions": [8],
    }

    def test_each_begins_once_and_has_a_best_of_its_own(self, script: Scripted) -> None:
        script.accuracies = [(40, 60), (45, 65), (0, 0)]
        state = script.prepare(**self.SETTINGS).run()
        assert [(line["phase"], line["epoch"]) for line in script.lines("phase")] == [
            ("warm-up", 0),
            ("shrinking", 2),
        ]
        assert (state.begun_phase, state.best) == (1, 0)
        assert [len(asked["passes"]) for asked in script.asked] == [1] * 8 + [2] * 4
        assert read_checkpoint(script.folder / "checkpoints" / "best.pt").state.step == 12
        assert [text for text in script.heard.messages if "sorted" in text] == [
            "Phase 'shrinking': channels sorted by importance."
        ]
        # A hundredth of twelve updates is none.
        assert script.heard.messages[0].startswith("Epsilon is 1 at once: algorithm.ramp_share = 0.01")
        assert [line["epsilon"] for line in script.lines("step")] == [0] * 8 + [1] * 4

    def test_going_back_into_the_phase_before_keeps_its_best(self, script: Scripted) -> None:
        script.accuracies = [(40, 60), (45, 45), (48, 48), (10, 10)]
        script.losses = {8: float("nan")}
        trainer = script.prepare(**self.SETTINGS)
        seen: list[float] = []
        original = trainer.checkpointer.save

        def save(**options: Any) -> None:
            seen.append(trainer.state.best)
            original(**options)

        trainer.checkpointer.save = save  # type: ignore[method-assign]
        assert trainer.run().rollbacks == 1
        # The first loss of the second phase is of the weights after eight updates: back to four.
        assert [asked["step"] for asked in script.asked] == [*range(9), *range(4, 12)]
        assert seen == [-1, 50, 50, 50, 50, 10]

    def test_going_back_to_before_its_phase_keeps_the_best(self, script: Scripted) -> None:
        """Its first epoch was validated, the next loss is of these weights: back to the warm-up's end."""
        script.accuracies = [(40, 60), (45, 45), (80, 80), (10, 10), (20, 20)]
        script.losses = {12: float("nan")}
        settings = self.SETTINGS | {"algorithm": self.SETTINGS["algorithm"] | {"warmup_share": 0.5}}
        state = script.prepare(training__epochs=4, **settings).run()
        assert [asked["step"] for asked in script.asked] == [*range(13), *range(8, 16)]
        assert [line["phase"] for line in script.lines("phase")] == ["warm-up", "shrinking", "shrinking"]
        assert (state.rollbacks, state.best) == (1, 80)
        kept = read_checkpoint(script.folder / "checkpoints" / "best.pt").state
        assert (kept.step, kept.rollbacks) == (12, 0)


def test_a_measured_best_outlives_going_back_to_before_it(script: Scripted) -> None:
    # The fifth update's loss is of the weights of the first epoch, which were validated: back to three.
    for first, best in (((40, 60), 50), ((0, 0), 0)):
        script.folder = script.folder.parent / str(best)
        script.accuracies, script.losses = [first, (0, 0), (0, 0), (0, 0)], {4: float("nan")}
        state = script.prepare(checkpoints__every_steps=3).run()
        assert (state.best, state.rollbacks) == (best, 1)
        kept = read_checkpoint(script.folder / "checkpoints" / "best.pt").state
        assert (kept.step, kept.rollbacks) == (4, 0)


@pytest.mark.parametrize(
    ("update", "settings", "asked"),
    [
        (1, {"checkpoints__every_steps": 3}, [*range(3), *range(12)]),
        (5, {"checkpoints__every_steps": 3}, [*range(6), *range(4, 12)]),
        (6, {}, [*range(8), *range(4, 12)]),
    ],
)
def test_ruined_weights_are_not_kept(
    update: int, settings: dict[str, Any], asked: list[int], script: Scripted
) -> None:
    """They are looked at when a checkpoint is due, and at the end of an epoch."""
    trainer = script.prepare(**settings)
    scripted, ruined = trainer.learner.update, []

    def ruin(*given: Any, **options: Any) -> StepResult:
        if trainer.state.step == update and not ruined:
            ruined.append(update)
            trainer.learner.supernet.layer("stem.conv").weighted.weight.data.fill_(float("inf"))
        return scripted(*given, **options)

    trainer.learner.update = ruin  # type: ignore[method-assign]
    assert trainer.run().rollbacks == 1
    assert [each["step"] for each in script.asked] == asked
    [told] = [text for text in script.heard.messages if "diverged" in text]
    assert "'supernet.stem.conv.conv.weight' is not finite. Back to" in told


def test_a_request_to_stop_is_remembered_by_how_to_go_on(script: Scripted) -> None:
    for process, hint in ((None, "ofa-tk train --resume"), (Pair(world_size=2), "the same torchrun line")):
        script.folder = script.folder.parent / hint[:4]
        trainer = script.prepare(process)
        trainer.stop_requested = True
        with pytest.raises(TrainingStoppedError, match="after update 1;") as caught:
            trainer.run()
        assert hint in str(caught.value.hint)


@pytest.mark.parametrize(("settings", "recalibrates"), [({}, True), ({"freeze": "body"}, False)])
def test_a_single_network_with_frozen_layers_is_judged_with_their_statistics(
    settings: dict[str, Any], recalibrates: bool, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def validate(*_given: Any, recalibrates: bool) -> dict[str, Accuracy]:
        seen.append(recalibrates)
        return {"largest": Accuracy(top1_percent=50, loss=0.0, num_images=8)}

    monkeypatch.setattr(trainer_module, "validate", validate)
    loop = {"epochs": 1, "batch_size": 8, **settings}
    trainer = script.prepare(training=loop, init="x")
    assert trainer.learner.supernet.space.has_one_subnet
    trainer.run()
    assert seen == [recalibrates]
    seen.clear()
    script.folder = script.folder.parent / "several"
    script.prepare(training=loop, init="x", space__expand_ratios=[3, 6]).run()
    assert seen == [True]


def test_classes_count_alike_where_that_is_asked_for(script: Scripted) -> None:
    assert script.prepare().learner.updater.class_weights is None
    trainer = script.prepare(data__class_weights="balanced")
    weights = trainer.learner.updater.class_weights
    assert weights is not None
    counts = torch.bincount(torch.cat([labels for _, labels in trainer.dataset.epoch(0, 8, seed=0)]))
    assert int(counts.sum()) == 32
    torch.testing.assert_close(weights, 32 / (4 * counts.float()))

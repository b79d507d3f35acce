"""The loop by a learner that computes nothing: what is asked of it, when, and what is made of its losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
            values.setdefault(table, {})[name] = value
        config = from_values(values)
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


@pytest.mark.parametrize(
    ("waits", "workers", "advice"),
    [(0.2, 0, None), (0.5, 0, "data.num_workers=1"), (0.5, 3, "data.num_workers=6")],
)
def test_slow_images_are_told(
    waits: float, workers: int, advice: str | None, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    class Time:
        """Stands still but for what is said to pass."""

        @staticmethod
        def monotonic() -> float:
            return clock[0]

        process_time = monotonic

    monkeypatch.setattr(trainer_module, "time", Time)
    trainer = script.prepare(data__num_workers=workers)
    epoch, update = trainer.dataset.epoch, trainer.learner.update

    def slow_epoch(*given: Any, **options: Any) -> Any:
        for batch in epoch(*given, **options):
            clock[0] += waits
            yield batch

    def slow_update(*given: Any, **options: Any) -> StepResult:
        clock[0] += 1 - waits
        return update(*given, **options)

    monkeypatch.setattr(trainer.dataset, "epoch", slow_epoch)
    monkeypatch.setattr(trainer.learner, "update", slow_update)
    trainer.run()
    told = [text for text in script.heard.messages if "waiting for images" in text]
    assert len(told) == (3 if advice else 0)
    if advice:
        assert told[0].startswith("epoch 1/3: 50 % of the time went into waiting")
        assert told[0].endswith(advice)
    assert [line["data_share"] for line in script.lines("epoch")] == pytest.approx([waits] * 3)
    # An update takes its images and its work.
    assert trainer.state.phase_seconds["training"] == pytest.approx(12)
    assert trainer.state.phase_processor_seconds["training"] == pytest.approx(12)
    facts = [each.facts for each in script.heard.steps]
    # Eight images a second.
    assert facts[3] == "loss 1.000  8 images/s"
    assert script.heard.steps[3].seconds_left == pytest.approx(8)

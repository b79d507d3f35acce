"""Where a run stands, what it may go on with, and what it read and cost, by small numbers."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ofa_toolkit.core.errors import (
    CheckpointError,
    ConfigError,
    FileFormatError,
    MissingDependencyError,
    OutputError,
)
from ofa_toolkit.spaces import get_space
from ofa_toolkit.training.algorithm import Pass, Phase
from ofa_toolkit.training.config import OptimizerConfig, RunConfig, from_values
from ofa_toolkit.training.cost import measured_cost, phase_cost, total
from ofa_toolkit.training.divergence import DivergenceWatch
from ofa_toolkit.training.losses import feature_distance, hard_cross_entropy
from ofa_toolkit.training.metrics import MetricsLog, read_metrics, require_tensorboard
from ofa_toolkit.training.optimizer import MovingAverage, build_optimizer, decays, set_learning_rate
from ofa_toolkit.training.resuming import (
    check_images,
    check_length,
    check_release,
    check_settings,
    how_to_go_on,
)
from ofa_toolkit.training.run_folder import (
    goes_on,
    read_config,
    read_summary,
    sweep,
    write_config,
    write_summary,
)
from ofa_toolkit.training.run_lock import LOCK_FILE
from ofa_toolkit.training.state import Part, TrainState
from ofa_toolkit.training.step import StepResult
from ofa_toolkit.training.unread import UnreadSteps

SPACE = get_space("mobilenet-v3-compact")


def run(changes: dict[str, Any] | None = None, method: str = "deps") -> RunConfig:
    values: dict[str, Any] = {
        "space": {"name": "mobilenet-v3-compact"},
        "algorithm": {"name": method},
        "training": {"epochs": 10, "batch_size": 8},
        "schedule": {"learning_rate": 0.1, "kind": "constant"},
    }
    for path, value in (changes or {}).items():
        *tables, name = path.split(".")
        table = values
        for part in tables:
            table = table.setdefault(part, {})
        table[name] = value
    return from_values(json.loads(json.dumps(values)))  # as from a file


class TestState:
    """The position of a run."""

    def test_a_run_that_has_not_begun(self) -> None:
        state = TrainState()
        assert (state.epoch, state.step_in_epoch, state.step, state.rollbacks) == (0, 0, 0, 0)
        assert (state.begun_phase, state.validated_epoch, state.best, state.rate_factor) == (-1, -1, -1, 1)

    @pytest.mark.parametrize(
        ("epoch", "step_in_epoch", "validated", "expected"),
        [(3, 0, 2, True), (3, 1, 2, False), (3, 0, 3, False), (3, 0, 1, False), (0, 0, -1, True)],
    )
    def test_validated_just_now(self, epoch: int, step_in_epoch: int, validated: int, expected: bool) -> None:
        state = TrainState(epoch=epoch, step_in_epoch=step_in_epoch, validated_epoch=validated)
        assert state.has_just_been_validated == expected

    def test_the_mean_accuracy(self) -> None:
        assert TrainState(accuracies={"smallest": 50.0, "largest": 80.0}).mean_accuracy == 65
        assert TrainState(accuracies={"subnet": 50.0}).mean_accuracy == 50

    @pytest.mark.parametrize(("device", "processor"), [("cpu", {"a": 5.0, "b": 8.0}), ("cuda", {})])
    def test_a_part_counts_updates_by_phase(self, device: str, processor: dict[str, float]) -> None:
        part = Part(num_devices=2, device=device, threads=3)
        for phase, seconds, worked in (("a", 1.0, 2.0), ("a", 0.5, 3.0), ("b", 4.0, 8.0)):
            part.count(phase, seconds, worked)
        assert (part.steps, part.seconds, part.processor_seconds) == (
            {"a": 2, "b": 1},
            {"a": 1.5, "b": 4.0},
            processor,
        )
        part.lost["a"] = 0.25
        assert part.summary() == {
            "updates": 3,
            "seconds": 5.5,
            "seconds_rolled_back": 0.25,
            "num_devices": 2,
            "device": device,
            "threads": 3,
        }

    def test_what_has_changed_since_the_last_part(self) -> None:
        old = Part(num_devices=1, device="cpu", threads=1)
        assert Part(num_devices=2, device="cuda", threads=4).differs_from(old) == [
            "1 process(es) before, 2 now",
            "cpu device before, cuda now",
            "1 CPU thread(s) before, 4 now",
        ]
        assert old.differs_from(dataclasses.replace(old, steps={"a": 1})) == []

    def test_a_state_that_did_not_know_its_devices(self) -> None:
        values = dataclasses.asdict(TrainState(step=5))
        del values["parts"]
        state = TrainState.from_dict({**values, "phase_steps": {"a": 5}, "phase_seconds": {"a": 2.0}})
        assert state.parts == [
            Part(num_devices=0, device="unknown", threads=0, steps={"a": 5}, seconds={"a": 2.0})
        ]
        state.begin_part(Part(num_devices=3, device="cpu", threads=1))
        assert len(state.parts) == 1
        assert state.phase_device_seconds == {"a": 6.0}


class TestResuming:
    """What a run must have in common with its checkpoint."""

    def test_what_to_type(self) -> None:
        folder = Path("a b")
        assert how_to_go_on(run(), folder) == "Go on with it: ofa-tk train --resume --out 'a b'"
        assert "the same line with --resume" in how_to_go_on(run(method="single"), folder)
        for world_size, is_torchrun in ((1, False), (2, True)):
            assert ("torchrun" in how_to_go_on(run(), folder, world_size)) == is_torchrun

    @pytest.mark.parametrize(
        "changes",
        [
            {"data.source": "npz:other"},
            {"data.num_workers": 4},
            {"checkpoints.keep": 9},
            {"tensorboard": False},
            {"training.epochs": 20},
            {"minutes": 7},
        ],
    )
    def test_settings_that_may_change(self, changes: dict[str, Any]) -> None:
        check_settings(Path("run"), run(), run(changes))

    @pytest.mark.parametrize(
        ("path", "value", "told"),
        [
            ("training.seed", 3, r"training\.seed = 0, not 3"),
            ("schedule.learning_rate", 0.2, r"schedule\.learning_rate = 0\.1, not 0\.2"),
            ("data.split_seed", 1, r"data\.split_seed = 0, not 1"),
            ("algorithm.warmup_share", 0.25, r"algorithm\.warmup_share = 0\.5, not 0\.25"),
        ],
    )
    def test_settings_that_may_not(self, path: str, value: Any, told: str) -> None:
        with pytest.raises(CheckpointError, match=told):
            check_settings(Path("run"), run(), run({path: value}))

    def test_images(self) -> None:
        class Images:
            name = "photos"

        kept = {"classes": "1", "train": "2", "validation": "3", "unlabelled": "4"}
        dataset: Any = Images()
        check_images(Path("run"), dict(kept), dataset, kept)
        with pytest.raises(CheckpointError, match="than photos: training images differ"):
            check_images(Path("run"), {**kept, "train": "9"}, dataset, kept)
        with pytest.raises(CheckpointError, match="classes and held-out images and unlabelled photos differ"):
            check_images(Path("run"), {"train": "2"}, dataset, kept)
        with pytest.raises(CheckpointError, match="classes and training images"):
            check_images(Path("run"), None, dataset, kept)

    def test_averages_of_the_release_before(self) -> None:
        check_release(Path("x"), run({"algorithm.aggregation": "sum"}))
        check_release(Path("x"), run(method="ofa"))
        with pytest.raises(CheckpointError, match="divided by all networks"):
            check_release(Path("x"), run({"algorithm.aggregation": "average"}))

    @pytest.mark.parametrize(
        ("epochs", "epoch", "step_in_epoch", "error"),
        [
            (4, 4, 0, None),
            (4, 4, 1, r"has begun epoch 5 of 10 already; it cannot be cut to 4"),
            (3, 4, 0, r"has begun epoch 4 of 10"),
            (20, 4, 1, None),
            (10, 10, 0, None),
        ],
    )
    def test_a_run_is_cut_no_shorter_than_it_is(
        self, epochs: int, epoch: int, step_in_epoch: int, error: str | None
    ) -> None:
        stored, given = run(method="bignas"), run({"training.epochs": epochs}, "bignas")
        state = TrainState(epoch=epoch, step_in_epoch=step_in_epoch)
        old, new = (config.algorithm.build(config, SPACE) for config in (stored, given))
        if error is None:
            check_length(Path("run"), stored, old, new, state, 7)
            return
        with pytest.raises(ConfigError, match=error):
            check_length(Path("run"), stored, old, new, state, 7)

    @pytest.mark.parametrize(
        ("epoch", "step_in_epoch", "is_changed"), [(0, 0, False), (5, 0, False), (5, 1, True), (6, 0, True)]
    )
    def test_what_is_done_must_have_been_the_same(
        self, epoch: int, step_in_epoch: int, is_changed: bool
    ) -> None:
        # Of 10 epochs of DϵpS 5 are warm-up, of 12 they are 6: epoch 5 (from 0) is another.
        stored, given = run(), run({"training.epochs": 12})
        old, new = (config.algorithm.build(config, SPACE) for config in (stored, given))
        state = TrainState(epoch=epoch, step_in_epoch=step_in_epoch)
        if not is_changed:
            check_length(Path("run"), stored, old, new, state, 7)
            return
        with pytest.raises(ConfigError, match=r"from 10 to 12 epochs.*epoch 6, which is done") as caught:
            check_length(Path("run"), stored, old, new, state, 7)
        assert "--epochs 12 --init run --out run-12-epochs" in str(caught.value.hint)

    def test_a_rate_that_falls_over_all_epochs(self) -> None:
        cosine = {"schedule.kind": "cosine"}
        stored, given = run(cosine, "bignas"), run({**cosine, "training.epochs": 12}, "bignas")
        old, new = (config.algorithm.build(config, SPACE) for config in (stored, given))
        # The first rate is the same in both; the last ones of the epoch are not.
        with pytest.raises(ConfigError, match="epoch 1, which is done"):
            check_length(Path("run"), stored, old, new, TrainState(epoch=1), 7)
        check_length(Path("run"), stored, old, new, TrainState(epoch=0), 7)


class TestPast:
    """Two runs of ten epochs of seven updates that differ in one of them."""

    STATE = TrainState(epoch=3, step_in_epoch=0)

    @staticmethod
    def method(rate: Callable[[float], float] = lambda _: 1.0, **changes: Any) -> Any:
        whole = Phase.of_whole_run("x", run(), SPACE)
        phase = dataclasses.replace(whole, schedule=rate, **changes)
        return SimpleNamespace(phases=(phase,), plan=lambda *_: ())

    @pytest.mark.parametrize(
        ("epoch", "step", "is_noticed"),
        [(0, 0, True), (1, 3, True), (2, 6, True), (3, 0, False), (2, 1, False)],
    )
    def test_first_middle_and_last_updates_are_compared(
        self, epoch: int, step: int, is_noticed: bool
    ) -> None:
        at = (7 * epoch + step) / 70
        other = self.method(lambda progress: 2.0 if abs(progress - at) < 1e-6 else 1.0)
        if not is_noticed:
            check_length(Path("run"), run(), self.method(), other, self.STATE, 7)
            return
        with pytest.raises(ConfigError, match=f"from 10 to 10 epochs.*epoch {epoch + 1}, which is done"):
            check_length(Path("run"), run(), self.method(), other, self.STATE, 7)

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "y"},
            {"alone": "largest"},
            {"spread_from": SPACE.smallest()},
            {"sort_protected_widths": 0},
            {"sort_by": "activations"},
            {"teacher": SPACE.largest()},
            {"teacher_batchnorm": "stored"},
            {"resets_optimizer": True},
        ],
    )
    def test_rules_are_compared(self, changes: dict[str, Any]) -> None:
        check_length(Path("run"), run(), self.method(), self.method(), self.STATE, 7)
        with pytest.raises(ConfigError, match="epoch 1, which is done"):
            check_length(Path("run"), run(), self.method(), self.method(**changes), self.STATE, 7)


class TestFolder:
    """A run on disk."""

    def test_what_is_gone_on_with(self, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        assert [goes_on(folder, "auto"), goes_on(folder, False)] == [False, False]
        with pytest.raises(CheckpointError, match=r"run\.toml is missing"):
            goes_on(folder, True)
        with pytest.raises(CheckpointError, match=r"run\.toml is missing"):
            read_config(folder)
        folder.mkdir()
        (folder / LOCK_FILE).touch()
        (folder / ".x-0123abcd.tmp").touch()
        assert not goes_on(folder, False)
        (folder / "photo.png").touch()
        with pytest.raises(OutputError, match="is not empty"):
            goes_on(folder, "auto")
        write_config(folder, run())
        assert read_config(folder) == run()
        # Killed before its first checkpoint.
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / ".step-000000001.pt").touch()
        assert [goes_on(folder, resume) for resume in (True, False, "auto")] == [False] * 3
        (folder / "checkpoints" / "step-000000001.pt").touch()
        assert [goes_on(folder, resume) for resume in (True, "auto")] == [True, True]
        with pytest.raises(OutputError, match="holds a training run already"):
            goes_on(folder, False)

    def test_what_killed_processes_left_is_swept(self, tmp_path: Path) -> None:
        left = (".a.pt-0123abcd.tmp", "checkpoints/.b-01234567.tmp.x", "snapshots/s/.c-89abcdef.tmp")
        kept = (".hidden", ".a.pt-0123abc.tmp", "checkpoints/step.pt", "deep/er/.d-01234567.tmp")
        for name in (*left, *kept):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        sweep(tmp_path)
        assert not [name for name in left if (tmp_path / name).exists()]
        assert all((tmp_path / name).exists() for name in kept)

    def test_the_summary(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"no finished training run \(summary\.json is missing\)"):
            read_summary(tmp_path)
        write_summary(tmp_path, {"a": 1})
        assert read_summary(tmp_path) == {"format": "ofa-toolkit/training-summary", "version": 2, "a": 1}
        (tmp_path / "summary.json").write_text("{")
        with pytest.raises(FileFormatError):
            read_summary(tmp_path)


class TestUnread:
    """Losses that are read later."""

    @pytest.mark.parametrize(
        ("changes", "device", "due"),
        [
            ({}, "cpu", set(range(1, 31))),
            ({}, "cuda", {10, 14, 20, 28, 30}),
            ({"training.read_losses_every": 4}, "cpu", {4, 8, 12, 14, 16, 20, 24, 28}),
            ({"checkpoints.every_steps": 9}, "cuda", {9, 10, 14, 18, 20, 27, 28, 30}),
        ],
    )
    def test_when_they_are_due(self, changes: dict[str, Any], device: str, due: set[int]) -> None:
        unread = UnreadSteps(run(changes), torch.device(device), steps_per_epoch=14)
        found = {
            step
            for step in range(1, 31)
            if unread.is_due(TrainState(step=step, step_in_epoch=(step - 1) % 14 + 1))
        }
        assert found == due

    def test_they_are_read_once_in_order(self) -> None:
        unread = UnreadSteps(run(), torch.device("cpu"), steps_per_epoch=5)
        pair = (
            Pass(role="largest", subnet=SPACE.largest(), hard_labels=0.5, soft_labels=2.0),
            Pass(role="smallest", subnet=SPACE.smallest()),
        )
        for step in (3, 4):
            result = StepResult(losses=torch.tensor([step + 0.5, 2.0]), num_correct=torch.tensor(2.0))
            unread.add(step, pair, result, 8, {"epoch": step})
        first, second = unread.read()
        assert (first.step, first.losses, first.label_weight) == (3, (3.5, 2.0), 2.5)
        assert first.values == {"epoch": 3, "train_accuracy": 25, "loss_0_largest": 3.5, "loss_1_smallest": 2}
        assert second.step == 4
        assert not list(unread.read())


def test_costs_of_one_update_and_of_none() -> None:
    one = measured_cost("a", 1, 7.0, 14.0, price_per_hour=0.0, processor_seconds=1800.0)
    assert (one.seconds_per_step, one.device_hours, one.money, one.processor_hours) == (7, 14 / 3600, 0, 0.5)
    assert total([one]).seconds_per_step == 7
    nothing = total([])
    assert (nothing.name, nothing.steps, nothing.seconds_per_step, nothing.device_hours) == ("total", 0, 0, 0)
    assert (nothing.money, nothing.processor_hours) == (None, None)
    planned = phase_cost("a", 10, 360.0, num_devices=2, price_per_hour=3.0)
    assert (planned.steps, planned.device_hours, planned.money) == (10, 2, 6)
    assert planned.processor_hours is None


class TestDivergence:
    """Of four classes: chance is ln 4 = 1.386, learned is below 1.178, chance again above 1.359."""

    def test_the_mean_moves_by_one_in_window(self) -> None:
        watch = DivergenceWatch(4, window=4)
        assert watch.check((1.0,)) is None
        assert watch.check((2.0, 99.0)) is None
        assert (watch.mean, watch.best) == (1.25, 1.0)
        assert watch.check((3.0,), 2.0) is None
        assert watch.mean == 1.25 + 0.25 / 4
        again = DivergenceWatch(4, window=4)
        again.load_state_dict(watch.state_dict())
        assert (again.mean, again.best) == (watch.mean, 1.0)
        watch.reset()
        assert (watch.mean, watch.best) == (None, math.inf)

    @pytest.mark.parametrize(
        ("best", "now", "is_wrong"),
        [(1.1, 1.37, True), (1.1, 1.35, False), (1.2, 1.37, False), (1.17, 1.5, True), (1.185, 1.5, False)],
    )
    def test_only_what_was_learned_can_be_lost(self, best: float, now: float, is_wrong: bool) -> None:
        watch = DivergenceWatch(4, window=1)
        assert watch.check((best,)) is None
        assert (watch.check((now,)) is not None) == is_wrong

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_no_number(self, bad: float) -> None:
        watch = DivergenceWatch(4, window=4)
        assert f"the loss is {bad}" in str(watch.check((1.0, bad)))
        assert watch.mean is None


class TestMetrics:
    """The record of a run."""

    def test_what_is_no_number_becomes_null(self, tmp_path: Path) -> None:
        log = MetricsLog(tmp_path / "run", last_step=0, use_tensorboard=False)
        log.write("step", 1, {"a": math.inf, "b": {"c": math.nan, "d": 2.5}, "e": 3})
        log.close()
        # Anything else that is none would make a line that other programs cannot read.
        with pytest.raises(ValueError, match="JSON"):
            log.write("step", 2, {"a": [math.nan]})
        assert read_metrics(log.path) == [
            {"kind": "step", "step": 1, "a": None, "b": {"c": None, "d": 2.5}, "e": 3}
        ]
        with pytest.raises(FileFormatError, match="No such file"):
            read_metrics(tmp_path / "none.jsonl")

    @pytest.mark.parametrize(("last_step", "kept"), [(1, [1]), (2, [1, 2]), (0, [])])
    def test_lines_up_to_the_checkpoint_stay(self, last_step: int, kept: list[int], tmp_path: Path) -> None:
        log = MetricsLog(tmp_path, last_step=0, use_tensorboard=False)
        for step in (1, 2):
            log.write("step", step, {})
        MetricsLog(tmp_path, last_step=last_step, use_tensorboard=False)
        assert [line["step"] for line in read_metrics(log.path)] == kept

    def test_events(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        done: list[tuple[Any, ...]] = []

        class SummaryWriter:
            def __init__(self, folder: str, *, purge_step: int) -> None:
                done.append(("open", folder, purge_step))

            def add_scalar(self, *what: Any) -> None:
                done.append(what)

            def flush(self) -> None:
                done.append(("flush",))

            def close(self) -> None:
                done.append(("close",))

        package = types.ModuleType("torch.utils.tensorboard")
        monkeypatch.setattr(package, "SummaryWriter", SummaryWriter, raising=False)
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", package)
        require_tensorboard()
        log = MetricsLog(tmp_path, last_step=4, use_tensorboard=True)
        log.write("step", 5, {"a": 1.5, "b": 2, "c": "text", "d": math.nan, "e": {"f": 1}})
        log.write("epoch", 6, {"a": 1})
        log.close()
        # What begins again at the fifth update takes the place of what a killed run wrote of it.
        assert done == [
            ("open", str(tmp_path / "tensorboard"), 5),
            ("step/a", 1.5, 5),
            ("step/b", 2, 5),
            ("epoch/a", 1, 6),
            ("flush",),
            ("close",),
        ]
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        with pytest.raises(MissingDependencyError):
            require_tensorboard()


class TestOptimizer:
    """One parameter that starts at 2 with gradient 1."""

    @pytest.mark.parametrize(
        ("kind", "settings", "expected"),
        [
            # v = 1; Nesterov steps by g + momentum * v.
            ("sgd", {"momentum": 0.5}, 2 - 0.1 * 1.5),
            ("sgd", {"momentum": 0.5, "nesterov": False}, 2 - 0.1),
            ("sgd", {"momentum": 0.5, "nesterov": False, "weight_decay": 0.25}, 2 - 0.1 * (1 + 0.25 * 2)),
            ("sgd", {"momentum": 0.0}, 2 - 0.1),
            ("muon", {"momentum": 0.0}, 2 - 0.1),
            # A linear layer is no convolution that mixes channels.
            ("muon", {"momentum": 0.5, "weight_decay": 0.25}, 2 - 0.1 * 1.5 * (1 + 0.25 * 2)),
            # The mean square is 0.1 after a step; the root of 0.001 is added to its root.
            ("rmsprop", {"momentum": 0.0}, 2 - 0.1 / (math.sqrt(0.1) + math.sqrt(0.001))),
            # Adam's first step is the rate itself; decay is decoupled.
            ("adamw", {"momentum": 0.5}, 2 - 0.1),
            ("adamw", {"momentum": 0.5, "weight_decay": 0.25}, 2 * (1 - 0.1 * 0.25) - 0.1),
        ],
    )
    def test_a_first_step(self, kind: Any, settings: dict[str, Any], expected: float) -> None:
        module = nn.Linear(1, 1, bias=False)
        told = {f"optimizer.{name}": value for name, value in {"weight_decay": 0.0, **settings}.items()}
        optimizer = build_optimizer(run({**told, "optimizer.kind": kind}).optimizer, module)
        with torch.no_grad():
            module.weight.fill_(2.0)
        module.weight.grad = torch.ones(1, 1)
        optimizer.step()
        assert module.weight.item() == 2, "the rate is 0 until it is set"
        optimizer.state.clear()
        set_learning_rate(optimizer, 0.1)
        optimizer.step()
        assert module.weight.item() == pytest.approx(expected, abs=1e-6)

    def test_momentum_of_the_second_step(self) -> None:
        found = {}
        for kind in ("rmsprop", "adamw"):
            module = nn.Linear(1, 1, bias=False)
            optimizer = build_optimizer(OptimizerConfig(kind=kind, momentum=0.5, weight_decay=0.0), module)
            with torch.no_grad():
                module.weight.fill_(2.0)
            set_learning_rate(optimizer, 0.1)
            for gradient in (1.0, 0.0):
                module.weight.grad = torch.full((1, 1), gradient)
                optimizer.step()
            found[kind] = module.weight.item()
        first = 0.1 / (math.sqrt(0.1) + math.sqrt(0.001))
        assert found["rmsprop"] == pytest.approx(2 - 1.5 * first, abs=1e-5)
        # Means 0.25 and 0.000999 over their corrections 0.75 and 0.001999.
        second = 0.1 * (0.25 / 0.75) / math.sqrt(0.000999 / 0.001999)
        assert found["adamw"] == pytest.approx(2 - 0.1 - second, abs=1e-5)

    def test_what_decays(self) -> None:
        names = ("a.conv.weight", "a.linear.weight", "a.conv.matrix_7to5")
        assert all(map(decays, names))
        assert not any(map(decays, ("a.conv.bias", "a.bn.weight", "a.bn.bias")))

    def test_the_moving_average_forgets_its_start_soon(self) -> None:
        module = nn.BatchNorm2d(1)
        assert module.running_mean is not None
        assert module.num_batches_tracked is not None
        average = MovingAverage(module, 0.25)
        values = []
        for number in (1, 2, 3):
            module.running_mean.fill_(1.0)
            module.num_batches_tracked.fill_(number)
            average.update(module)
            values.append(float(average.values["running_mean"]))
        # Decay 2/11 after one update, 3/12 after two; no more than 1/4.
        assert values == pytest.approx([1 - 2 / 11, 1 - 2 / 11 / 4, 1 - 2 / 11 / 16])
        assert (average.num_updates, int(average.values["num_batches_tracked"])) == (3, 3)
        again = MovingAverage(nn.BatchNorm2d(1), 0.25)
        again.load_state_dict(average.state_dict())
        assert again.num_updates == 3
        assert float(again.values["running_mean"]) == pytest.approx(values[-1])


def test_losses_of_two_images() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    labels = torch.tensor([1, 0])
    losses = math.log(4 / 3), math.log(2)
    assert float(hard_cross_entropy(logits, labels)) == pytest.approx(sum(losses) / 2)
    weights = torch.tensor([3.0, 0.5])
    weighted = float(hard_cross_entropy(logits, labels, image_weights=weights))
    assert weighted == pytest.approx((3 * losses[0] + 0.5 * losses[1]) / 2)
    # The unbiased variance of 0, 2, 4, 6 is 20/3; the squares of the differences are 1, 1, 1, 9.
    target = torch.tensor([[0.0, 2.0], [4.0, 6.0]])
    features = torch.tensor([[1.0, 1.0], [5.0, 9.0]])
    assert float(feature_distance(features, target)) == pytest.approx(3 / (20 / 3))
    assert float(feature_distance(torch.ones(2, 2), torch.zeros(2, 2))) == pytest.approx(1e12, rel=1e-3)

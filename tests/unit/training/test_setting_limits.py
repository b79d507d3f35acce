"""What a recipe may say, to the last value that is taken, and what one that says nothing gets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.errors import ConfigError, OfaToolkitError
from ofa_toolkit.core.precision import ALIASES
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.space_file import dumps_space, space_document
from ofa_toolkit.training.config import RunConfig, from_values, load

METHODS = ("deps", "ofa", "bignas", "compofa", "subnet_first", "single")


def run(changes: dict[str, Any] | None = None, method: str = "deps") -> RunConfig:
    """A run with settings by dotted path beside those that have to be given."""
    values: dict[str, Any] = {
        "space": {"name": "mobilenet-v3-compact"},
        "algorithm": {"name": method},
        "training": {"epochs": 1, "batch_size": 8},
        "schedule": {"learning_rate": 0.1},
    }
    for path, value in (changes or {}).items():
        *tables, name = path.split(".")
        table = values
        for part in tables:
            table = table.setdefault(part, {})
        table[name] = value
    # Read as from a file, whose texts are equal to those of the program and not the same objects.
    return from_values(json.loads(json.dumps(values)))


def setting(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


COUNTS = (
    "data.validation_size",
    "data.test_size",
    "training.epochs",
    "training.batch_size",
    "training.accumulation",
    "training.record_gradients_every",
    "training.read_losses_every",
    "validation.every_epochs",
    "validation.images",
    "validation.recalibration_images",
    "validation.batch_size",
    "checkpoints.every_steps",
    "checkpoints.keep",
    "divergence.window",
)
NATURAL = (
    "data.split_seed",
    "data.num_workers",
    "training.seed",
    "divergence.rollbacks",
    "algorithm.sort_protected_widths",
)
# Each with the last value that is taken and the first that is not.
LIMITS: list[tuple[str, Any, Any]] = [
    *((path, 1, 0) for path in COUNTS),
    *((path, 0, -1) for path in NATURAL),
    ("training.label_smoothing", 0, -0.01),
    ("training.label_smoothing", 0.999, 1),
    ("training.dropout", 0, -0.01),
    ("training.dropout", 0.999, 1),
    ("training.bn_momentum", 0.001, 0),
    ("training.bn_momentum", 1, 1.001),
    ("training.clip_norm", 0.001, 0),
    ("training.clip_value", 0.001, 0),
    ("training.ema_decay", 0.001, 0),
    ("training.ema_decay", 0.999, 1),
    ("optimizer.momentum", 0, -0.01),
    ("optimizer.momentum", 0.999, 1),
    ("optimizer.weight_decay", 0, -0.01),
    ("checkpoints.every_minutes", 0.001, 0),
    ("checkpoints.snapshots", [0.001], [0]),
    ("checkpoints.snapshots", [1], [1.001]),
    ("divergence.rate_factor", 0.001, 0),
    ("divergence.rate_factor", 0.999, 1),
    ("finish.predictor_subnets", 30, 29),
    ("minutes", 0.001, 0),
    ("schedule.learning_rate", 0.001, 0),
    ("schedule.floor", 0, -0.01),
    ("schedule.floor", 1, 1.001),
    ("schedule.warmup_share", 0, -0.01),
    ("schedule.warmup_share", 0.999, 1),
    ("schedule.warmup_start", 0, -0.01),
    ("schedule.warmup_start", 1, 1.001),
    ("schedule.decay", 0.001, 0),
    ("schedule.decay", 1, 1.001),
    ("schedule.decay_every_share", 0.001, 0),
    ("schedule.decay_every_share", 1, 1.001),
    ("algorithm.warmup_share", 0, -0.01),
    ("algorithm.warmup_share", 1, 1.001),
    ("algorithm.epsilon_start", 0.001, 0),
    ("algorithm.epsilon_start", 1, 1.001),
    ("algorithm.ramp_share", 0, -0.01),
    ("algorithm.ramp_share", 1, 1.001),
    ("algorithm.num_networks", 2, 1),
    ("algorithm.temperature", 0.001, 0),
    ("algorithm.hard_labels", 0, -0.01),
    ("algorithm.soft_labels", 0.001, -0.01),
]


@pytest.mark.parametrize(("path", "taken", "refused"), LIMITS)
def test_the_last_value_is_taken_and_the_next_refused(path: str, taken: Any, refused: Any) -> None:
    assert setting(run({path: taken}), path) == (tuple(taken) if isinstance(taken, list) else taken)
    with pytest.raises(ConfigError, match=path.rpartition(".")[2]):
        run({path: refused})


@pytest.mark.parametrize(
    ("method", "path", "taken", "refused"),
    [
        ("bignas", "algorithm.num_networks", 2, 1),
        ("bignas", "algorithm.temperature", 0.001, 0),
        ("ofa", "algorithm.distillation", 0, -0.01),
        ("ofa", "algorithm.temperature", 0.001, 0),
        ("compofa", "algorithm.distillation", 0, -0.01),
        ("compofa", "algorithm.phase_rates", [1, 2, 0.001], [1, 2, 0]),
        ("compofa", "algorithm.phase_epochs", [1, 2, 0.001], [1, -1, 3]),
        ("compofa", "algorithm.phase_epochs", [1, 2, 3], [1, 2, 3, 4]),
    ],
)
def test_limits_of_other_methods(method: str, path: str, taken: Any, refused: Any) -> None:
    assert setting(run({path: taken}, method), path) == (tuple(taken) if isinstance(taken, list) else taken)
    with pytest.raises(ConfigError, match=path.rpartition(".")[2]):
        run({path: refused}, method)


def test_features_are_matched_from_none_up() -> None:
    frozen = {"algorithm.teacher": "frozen"}
    assert run({**frozen, "algorithm.features": 0.001}).algorithm.features == 0.001  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="features"):
        run({**frozen, "algorithm.features": -0.01})


def test_a_frozen_part_begins_with_one_stage() -> None:
    assert run({"training.freeze": 1, "init": "x"}).training.freeze == 1
    with pytest.raises(ConfigError, match="freeze"):
        run({"training.freeze": 0, "init": "x"})


def test_a_teacher_sees_a_pixel_at_least() -> None:
    # Labels are not smoothed where a teacher takes their place.
    taught = {"teacher": "x", "training.label_smoothing": 0}
    assert run({**taught, "teacher_resolution": 1}).teacher_resolution == 1
    with pytest.raises(ConfigError, match="teacher_resolution"):
        run({**taught, "teacher_resolution": 0})


DEFAULTS: dict[str, Any] = {
    "data.split_seed": 0,
    "data.convert": False,
    "data.class_weights": "none",
    "data.num_workers": 0,
    "training.accumulation": 1,
    "training.label_smoothing": 0.1,
    "training.dropout": 0.1,
    "training.bn_momentum": 0.1,
    "training.clip_norm": None,
    "training.ema_decay": None,
    "training.precision": "fp32",
    "training.channels_last": True,
    "training.compile": False,
    "training.sync_batchnorm": False,
    "training.freeze": "none",
    "training.seed": 0,
    "optimizer.kind": "sgd",
    "optimizer.momentum": 0.9,
    "optimizer.nesterov": True,
    "optimizer.weight_decay": 3e-5,
    "schedule.kind": "cosine",
    "schedule.floor": 0,
    "schedule.warmup_share": 0,
    "schedule.warmup_start": 0,
    "schedule.decay": 0.97,  # BigNAS's
    "schedule.decay_every_share": 2.4 / 400,
    "validation.every_epochs": 1,
    "validation.recalibration_images": 2000,  # that of the references
    "validation.batch_size": 200,
    "checkpoints.every_minutes": 10,
    "checkpoints.keep": 2,
    "checkpoints.snapshots": (),
    "divergence.rollbacks": 1,
    "divergence.rate_factor": 0.5,
    "divergence.window": 50,
    "start.fit_batchnorm": False,
    "start.probe": False,
    "finish.predictor_subnets": None,
    "tensorboard": True,
    "algorithm.warmup_share": 0.5,
    "algorithm.epsilon_start": 1e-4,
    "algorithm.ramp_share": 5 / 270,
    "algorithm.num_networks": 4,
    "algorithm.temperature": 1,
    "algorithm.hard_labels": 0,
    "algorithm.soft_labels": 1,
    "algorithm.features": 0,
    "algorithm.sort_channels": True,
    "algorithm.sort_protected_widths": None,
    "algorithm.dropout_on_largest_only": True,
    "algorithm.imitates": True,
    "algorithm.use_kernel_transforms": False,
    "algorithm.use_zero_gamma": False,
}


def test_a_recipe_that_says_nothing() -> None:
    config = run()
    assert {path: setting(config, path) for path in DEFAULTS} == DEFAULTS


OF_METHODS: dict[str, dict[str, Any]] = {
    "ofa": {"distillation": 1, "temperature": 1, "skip_teacher": False, "use_kernel_transforms": True},
    "compofa": {"distillation": 1, "elastic_kernel": False, "use_kernel_transforms": False},
    "bignas": {"num_networks": 4, "temperature": 1, "use_zero_gamma": True, "dropout_on_largest_only": True},
    "subnet_first": {"first_share": 0.5, "num_networks": 4, "use_zero_gamma": False},
    "single": {"use_kernel_transforms": False, "use_zero_gamma": False},
}


@pytest.mark.parametrize("method", OF_METHODS)
def test_a_method_that_says_nothing(method: str) -> None:
    algorithm = run(method=method).algorithm
    assert {name: getattr(algorithm, name) for name in OF_METHODS[method]} == OF_METHODS[method]


@pytest.mark.parametrize(
    ("method", "changes", "imitates"),
    [
        ("deps", {}, True),
        ("deps", {"algorithm.soft_labels": 0, "algorithm.hard_labels": 1}, False),
        ("ofa", {}, True),
        ("ofa", {"algorithm.distillation": 0}, False),
        ("compofa", {"algorithm.distillation": 0.5}, True),
        ("bignas", {}, True),
        ("subnet_first", {}, True),
        ("single", {}, False),
    ],
)
def test_unlabelled_images_need_somebody_to_learn_from(
    method: str, changes: dict[str, Any], imitates: bool
) -> None:
    assert run(changes, method).algorithm.imitates == imitates
    with_photos = {**changes, "data.unlabelled": "photos"}
    if imitates:
        assert str(run(with_photos, method).data.unlabelled) == "photos"
    else:
        with pytest.raises(ConfigError, match=r"data\.unlabelled.*learns from labels alone"):
            run(with_photos, method)
        assert run({**with_photos, "teacher": "x", "training.label_smoothing": 0}, method).teacher == "x"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.accumulation": 3}, "accumulation: 3 does not divide the batch size 8"),
        ({"training.freeze": "body"}, r"training\.freeze: there are no weights to start from"),
        ({"start.probe": True}, r"start\.probe: there are no weights"),
        ({"teacher_resolution": 32}, "there is no teacher"),
        ({"teacher": "x"}, r"training\.label_smoothing: '0\.1' is for labels"),
        (
            {"teacher": "x", "training.label_smoothing": 0, "data.class_weights": "balanced"},
            r"data\.class_weights: 'balanced' is for labels",
        ),
        (
            {"teacher": "x", "training.label_smoothing": 0, "init": "y", "start.probe": True},
            r"start\.probe: a teacher takes the place",
        ),
        ({"algorithm.soft_labels": 0}, "would learn nothing"),
        ({"algorithm.features": 1.0}, "only a frozen teacher's"),
        ({"algorithm.sort_by": "activations", "algorithm.sort_channels": False}, "sort_by"),
        ({"algorithm.features": 1.0, "algorithm.teacher": "frozen", "training.compile": True}, None),
        ({"start.probe": True, "init": "x"}, None),
        ({"training.accumulation": 4}, None),
        ({"data.class_weights": "balanced"}, None),
        ({"algorithm.soft_labels": 0, "algorithm.hard_labels": 0.5}, None),
        ({"algorithm.sort_by": "activations"}, None),
        ({"algorithm.sort_channels": False}, None),
    ],
)
def test_settings_that_exclude_each_other(changes: dict[str, Any], message: str | None) -> None:
    if message is None:
        run(changes)
        return
    with pytest.raises(ConfigError, match=message):
        run(changes)


@pytest.mark.parametrize(("spelled", "precision"), [*ALIASES.items(), ("bf16", "bf16")])
def test_the_precision_in_other_spellings(spelled: str, precision: str) -> None:
    assert run({"training.precision": spelled}).training.precision == precision


@pytest.mark.parametrize(
    ("path", "value"),
    [("training", 3), ("training.precision", 16), ("training.precision", "fp8"), ("space", 3), ("space", {})],
)
def test_tables_that_are_none(path: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=path.replace(".", r"\.")):
        run({path: value})


def test_a_space_of_ones_own() -> None:
    own = {**space_document(get_space("mobilenet-v3-compact")), "name": "mine"}
    config = run({"space": {"name": "mine", "table": own}})
    assert config.space.base.name == config.space.whole(7).name == "mine"
    with pytest.raises(ConfigError, match="name: 'other' is not that of the table, 'mine'"):
        run({"space": {"name": "other", "table": own}})
    with pytest.raises(OfaToolkitError, match="mine"):
        assert run({"space": {"name": "mine"}}).space.base


def test_a_space_in_a_file_is_kept_in_the_configuration(tmp_path: Path) -> None:
    own = dataclasses.replace(get_space("mobilenet-v3-compact"), name="mine")
    path = tmp_path / "mine.toml"
    path.write_text(dumps_space(own))
    config = run({"space": {"name": str(path), "depths": [1]}})
    assert (config.space.name, config.space.base, config.space.depths) == ("mine", own, (1,))
    # A run's own file needs no other; a space that is named beside it takes the place of all it says of one.
    configuration.dump_toml(config, tmp_path / "run.toml")
    path.unlink()
    assert load(tmp_path / "run.toml") == config
    other = load(tmp_path / "run.toml", ["training.seed=3"], space="deps-mobilenet-v3-cifar")
    assert (other.space.name, other.space.depths, other.training.seed) == ("deps-mobilenet-v3-cifar", (), 3)


def test_a_recipe_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml"):
        load(tmp_path / "run.toml")
    (tmp_path / "run.toml").write_text("training = [")
    with pytest.raises(ConfigError, match=r"run\.toml"):
        load(tmp_path / "run.toml")


def test_the_space_of_a_run() -> None:
    whole = run().space
    assert whole.whole(7).num_classes == 7
    assert whole.whole(7).resolutions == whole.base.resolutions
    part = run({"space.resolutions": [40], "space.depths": [1], "space.kernel_sizes": [3]}).space
    assert part.whole(7).resolutions == part.trained(7).resolutions == (40,)
    assert {stage.depths for stage in part.trained(7).stages} == {(1,)}
    assert {stage.kernel_sizes for stage in part.trained(7).stages} == {(3,)}
    assert part.trained(7).stages[0].expand_ratios == part.whole(7).stages[0].expand_ratios
    assert part.whole(7).stages == whole.whole(7).stages

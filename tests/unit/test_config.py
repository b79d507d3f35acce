"""Configuration: every type round-trips through TOML, and every mistake is named with its dotted path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_toolkit.core import config
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sgd:
    kind: Literal["sgd"] = "sgd"
    momentum: Annotated[float, Bounds(at_least=0, below=1)] = 0.9
    """Share of the last step that is kept."""


@dataclass(frozen=True, kw_only=True)
class RmsProp:
    kind: Literal["rmsprop"] = "rmsprop"
    alpha: float = 0.9


@dataclass(frozen=True, kw_only=True)
class Schedule:
    epochs: Annotated[int, Bounds(at_least=1)] = 120
    """Passes over the
    training images."""
    warmup: int = 0

    def __post_init__(self) -> None:
        if self.warmup > self.epochs:
            raise ConfigError(f"warmup: {self.warmup} is longer than epochs ({self.epochs}).")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    name: str
    """What the run is called."""
    schedule: Schedule = Schedule()
    optimizer: Sgd | RmsProp = Sgd()
    kernel_sizes: tuple[int, ...] = (3, 5, 7)
    crop: tuple[int, float] = (32, 0.5)
    limit: Annotated[int, Bounds(above=0)] | None = None
    clip: float | None = 1.0
    either: int | str = 3
    teacher: Path | None = None
    is_fast: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    bits: Literal[8, 16] = 16
    weights: Mapping[str, float] = field(default_factory=dict)


def build(**values: Any) -> Recipe:
    return config.from_dict(Recipe, {"name": "x", **values})


def test_defaults_and_nesting() -> None:
    recipe = build(schedule={"epochs": 5}, optimizer={"kind": "rmsprop", "alpha": 1})
    assert recipe.schedule == Schedule(epochs=5)
    assert recipe.optimizer == RmsProp(alpha=1.0)
    assert isinstance(recipe.optimizer, RmsProp)
    assert isinstance(recipe.optimizer.alpha, float)


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        (
            {"schedule": {"epoch": 5}},
            "Unknown setting 'schedule.epoch'. Known here: epochs, warmup.",
            "'schedule.epochs'",
        ),
        ({"schedul": {}}, "Unknown setting 'schedul'.", "Did you mean 'schedule'?"),
        ({"zzz": 1}, "Unknown setting 'zzz'.", None),
        ({"schedule": {"epochs": "5"}}, "schedule.epochs: expected an integer, got '5'.", None),
        ({"schedule": {"epochs": 5.0}}, "schedule.epochs: expected an integer, got 5.0.", None),
        ({"schedule": {"epochs": True}}, "schedule.epochs: expected an integer, got true.", None),
        (
            {"schedule": {"epochs": 0}},
            "schedule.epochs: 0 is out of range; allowed is an integer, at least 1.",
            None,
        ),
        ({"schedule": {"epochs": 2, "warmup": 3}}, "schedule.warmup: 3 is longer than epochs (2).", None),
        ({"schedule": 5}, "schedule: expected a table, got 5.", None),
        (
            {"optimizer": {"kind": "sgdd"}},
            "optimizer.kind: 'sgdd' is not one of 'sgd', 'rmsprop'.",
            "Did you mean 'sgd'?",
        ),
        (
            {"optimizer": {"kind": "sgd", "alpha": 1}},
            "Unknown setting 'optimizer.alpha'. Known here: kind, momentum.",
            None,
        ),
        ({"optimizer": {"kind": "sgd", "momentum": 1}}, "optimizer.momentum: 1 is out of range", None),
        (
            {"kernel_sizes": 3},
            "kernel_sizes: expected a list, each an integer, got 3.",
            "A list is written [a, b, c].",
        ),
        ({"kernel_sizes": [3, "5"]}, "kernel_sizes[1]: expected an integer, got '5'.", None),
        ({"crop": [32]}, "crop: expected a list of 2 values, got 1.", None),
        ({"limit": 0}, "limit: 0 is out of range; allowed is an integer, above 0.", None),
        ({"either": 1.5}, "either: expected an integer or a text, got 1.5.", None),
        ({"is_fast": 1}, "is_fast: expected true or false, got 1.", None),
        (
            {"dtype": "float16"},
            "dtype: 'float16' is not one of 'float32', 'bfloat16'.",
            "Did you mean 'bfloat16'?",
        ),
        ({"bits": 16.0}, "bits: 16.0 is not one of 8, 16.", None),
        ({"clip": float("nan")}, "clip: nan is not a finite number.", None),
        ({"weights": {"a": "b"}}, "weights.a: expected a number, got 'b'.", None),
    ],
)
def test_mistakes(values: dict[str, Any], message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        build(**values)
    assert message in caught.value.message
    if hint is None:
        assert caught.value.hint is None or "Did you mean" in caught.value.hint
    else:
        assert hint in (caught.value.hint or "")


def test_missing_setting_and_source() -> None:
    with pytest.raises(ConfigError) as caught:
        config.from_dict(Recipe, {}, source="recipe.toml")
    assert caught.value.message == "recipe.toml: name: missing; expected a text."


@pytest.mark.parametrize(
    ("override", "attribute", "expected"),
    [
        ("schedule.epochs=7", "schedule", Schedule(epochs=7)),
        ("name=5", "name", "5"),
        ("name=a = b", "name", "a = b"),
        ('name="5"', "name", "5"),
        ("kernel_sizes=[3, 5]", "kernel_sizes", (3, 5)),
        ("crop=[8, 1]", "crop", (8, 1.0)),
        ("optimizer.kind=rmsprop", "optimizer", RmsProp()),
        ("is_fast=true", "is_fast", True),
        ("dtype=bfloat16", "dtype", "bfloat16"),
        ("bits=8", "bits", 8),
        ("clip=none", "clip", None),
        ("clip=1e-3", "clip", 1e-3),
        ("either=abc", "either", "abc"),
        ("teacher=/a/b", "teacher", Path("/a/b")),
        ("weights.conv=2", "weights", {"conv": 2.0}),
    ],
)
def test_overrides_take_their_type_from_the_field(override: str, attribute: str, expected: object) -> None:
    values = config.apply_overrides({"name": "x"}, [override])
    assert getattr(config.from_dict(Recipe, values), attribute) == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.epochs", "--set 'schedule.epochs' is not of the form name=value."),
        ("=5", "is not of the form"),
        ("a..b=5", "is not of the form"),
        ("schedule.epochs=abc", "schedule.epochs: expected an integer, got 'abc'."),
        ("schedule.epochs=0", "schedule.epochs: 0 is out of range"),
        ("schedule=5", "schedule: expected a table, got 5."),
        ("name.first=5", "--set 'name.first=5': 'name' is not a table."),
        ("is_fast=yes", "is_fast: expected true or false, got 'yes'."),
        ("schedule.epohcs=5", "Unknown setting 'schedule.epohcs'."),
    ],
)
def test_wrong_overrides(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.from_dict(Recipe, config.apply_overrides({"name": "x"}, [override]))
    assert message in caught.value.message


def test_overrides_leave_their_input_alone_and_the_last_wins() -> None:
    values = {"name": "x", "schedule": {"epochs": 5}}
    result = config.apply_overrides(values, ["schedule.epochs=6", "schedule.epochs=7"])
    assert values == {"name": "x", "schedule": {"epochs": 5}}
    assert config.from_dict(Recipe, result).schedule.epochs == 7


recipes = st.builds(
    Recipe,
    name=st.text(st.characters(exclude_categories=("Cs", "Cc"))),
    schedule=st.builds(Schedule, epochs=st.integers(5, 100), warmup=st.integers(0, 5)),
    optimizer=st.builds(Sgd, momentum=st.floats(0, 0.99)) | st.builds(RmsProp, alpha=st.floats(-1e6, 1e6)),
    kernel_sizes=st.lists(st.integers(-(2**40), 2**40)).map(tuple),
    limit=st.none() | st.integers(1, 9),
    clip=st.none() | st.floats(0, 9),
    either=st.integers(-9, 9) | st.sampled_from(["a", "none"]),
    teacher=st.none() | st.just(Path("a/b")),
    is_fast=st.booleans(),
    bits=st.sampled_from([8, 16]),
    weights=st.dictionaries(st.sampled_from(["a", "b.c", "d e"]), st.floats(0, 1)),
)


@given(recipes)
def test_toml_gives_back_an_equal_configuration(recipe: Recipe) -> None:
    from ofa_toolkit.core import toml

    assert config.from_dict(Recipe, toml.loads(config.dumps_toml(recipe))) == recipe


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    config.dump_toml(Recipe(name="y"), path)
    assert config.load_toml(Recipe, path, ["schedule.epochs=9"]) == Recipe(
        name="y", schedule=Schedule(epochs=9)
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ?\n", "is not valid TOML: Invalid value (at line 1, column 8)"),
        (b"name = '\xe9'", "is not UTF-8 text"),
        (b"name = 'x'\nepochs = 3", "Unknown setting 'epochs'"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load_toml(Recipe, path)
    assert str(path) in caught.value.message
    assert message in caught.value.message


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        config.load_toml(Recipe, tmp_path / "none.toml")


def test_check_of_a_configuration_built_in_python() -> None:
    assert config.check(Recipe(name="x")) == Recipe(name="x")
    wrong = dataclasses.replace(Recipe(name="x"), optimizer=Sgd(momentum=2.0))
    with pytest.raises(ConfigError, match=r"optimizer\.momentum: 2\.0 is out of range"):
        config.check(wrong)


def test_describe_lists_dotted_names_types_defaults_and_help() -> None:
    infos = {info.path: info for info in config.describe(Recipe)}
    assert list(infos)[:3] == ["name", "schedule.epochs", "schedule.warmup"]
    assert infos["name"].default is None
    assert infos["name"].help == "What the run is called."
    assert infos["schedule.epochs"].help == "Passes over the training images."
    assert infos["schedule.epochs"].type_name == "an integer, at least 1"
    assert infos["schedule.epochs"].default == "120"
    assert infos["kernel_sizes"].default == "[3, 5, 7]"
    assert infos["limit"].type_name == "an integer, above 0 or 'none'"
    assert infos["limit"].default == "none"


def test_unsupported_types_are_our_own_mistake() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong:
        when: complex = 1j

    with pytest.raises(TypeError, match="not supported"):
        config.from_dict(Wrong, {"when": 1})

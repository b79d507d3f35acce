"""Recipes and their settings: every bundled file is valid, every setting explains itself."""

from __future__ import annotations

import itertools
import re

import pytest

from ofa_toolkit.core import config, resources
from ofa_toolkit.training import ALGORITHMS
from ofa_toolkit.training import config as training_config

RECIPES = [entry for entry in resources.entries("configs").values() if entry.origin == "bundled"]

SETTINGS = [
    *(info for info in config.describe(training_config.RunConfig) if not info.path.startswith("algorithm.")),
    *(info for name in ALGORITHMS for info in config.describe(ALGORITHMS[name], f"{name}.")),
]


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("entry", RECIPES, ids=lambda entry: entry.name)
def test_recipe_is_valid(entry: resources.Entry) -> None:
    recipe = training_config.load(entry.path)
    assert recipe.space.trained(num_classes=10).num_architectures >= 1


@pytest.mark.parametrize("entry", RECIPES, ids=lambda entry: entry.name)
def test_recipe_says_where_it_comes_from_and_what_came_of_it(entry: resources.Entry) -> None:
    title, empty, *rest = _header(entry)
    assert title.startswith("# ")
    assert empty == "#"
    words = " ".join(line.lstrip("# ") for line in rest)
    assert "Source: " in words
    was_run = [re.search(rf"{fact}: [^:]*\d", words) for fact in ("Result", "Time", "Hardware")]
    if not any(was_run):
        assert "Not run at this size here" in words
        assert re.search(r"papers? leaves? open", words), "say what the source leaves open"
        return
    assert all(was_run)


def _header(entry: resources.Entry) -> list[str]:
    """The comment on top of a recipe."""
    lines = entry.path.read_text(encoding="utf-8").splitlines()
    return list(itertools.takewhile(lambda line: line.startswith("#"), lines))


def test_every_setting_has_help_and_a_type_in_words() -> None:
    silent = [info.path for info in SETTINGS if not info.help.endswith(".") or not info.type_name]
    assert not silent, f"these settings need a sentence after their field: {silent}"

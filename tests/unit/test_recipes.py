"""Recipes and their settings: every bundled file is valid, every setting explains itself."""

from __future__ import annotations

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
def test_recipe_is_valid_and_says_what_it_is(entry: resources.Entry) -> None:
    recipe = training_config.load(entry.path)
    assert recipe.space.trained(num_classes=10).num_architectures >= 1
    assert entry.path.read_text(encoding="utf-8").startswith("# ")


def test_every_setting_has_help_and_a_type_in_words() -> None:
    silent = [info.path for info in SETTINGS if not info.help.endswith(".") or not info.type_name]
    assert not silent, f"these settings need a sentence after their field: {silent}"

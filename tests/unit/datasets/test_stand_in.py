"""Noise in the place of a data set, for dry runs without images."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.datasets.stand_in import StandIn, StandInName
from ofa_toolkit.pipelines.training.recipes import list_recipes, load_recipe
from ofa_toolkit.pipelines.training.run import open_run_dataset


def test_it_counts_like_the_data_set_and_has_its_shape() -> None:
    images = StandIn("imagenet", resolution=64, validation_size=None)
    assert [images.num_images(split) for split in ("train", "validation", "test")] == [
        1_271_167,
        10_000,
        50_000,
    ]
    assert images.num_classes == 1000
    assert images.steps_per_epoch(2048) == 620
    pixels, labels = next(images.epoch(0, 16, seed=0, rank=1, world_size=2))
    assert pixels.shape == (8, 3, 64, 64)
    assert labels.shape == (8,)
    assert torch.isfinite(pixels).all()


@pytest.mark.parametrize("recipe", [recipe.name for recipe in list_recipes()])
def test_every_recipe_says_what_it_is_for_and_only_a_dry_run_takes_noise(recipe: str) -> None:
    config = load_recipe(recipe)
    last = recipe.rpartition("-")[2]
    known = get_args(StandInName)
    assert config.data.made_for == last if last in known else config.data.made_for in known
    resolution = max(config.space.whole(1).resolutions)
    images = open_run_dataset(config, download=False, takes_noise=True, resolution=resolution)
    assert images.resolution == resolution
    with pytest.raises(ConfigError, match="No images"):
        open_run_dataset(config, download=False, resolution=resolution)

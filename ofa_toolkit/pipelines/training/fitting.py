"""A recipe fitted to a user's images and time: batch size, resolution and number of epochs."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from dataclasses import dataclass

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.pipelines.training.dry_run import predict_cost
from ofa_toolkit.pipelines.training.run import open_run_dataset
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.distributed import Process

_SHARE_OF_UPDATES = 0.7
"""Share of the time for updates; the rest is for the start, validation and the predictor."""

_LEAST_EPOCHS, _MOST_EPOCHS = 20, 200
"""Epochs for which a larger resolution is given up, and beyond which time is left unused."""

_PICTURES = 40
"""Looked at to know how large they are."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A recipe with the values that were chosen.

    Attributes:
        config: With them.
        told: The choice and its reasons, for the user.
    """

    config: RunConfig
    told: str


def fit_to_time(config: RunConfig, process: Process, *, download: bool = False) -> Fitted:
    """Choose what `config.minutes` leaves open, from a timed handful of updates. Nothing is written.

    The batch is the recipe's, or all training images where there are fewer. The resolution is the largest
    that the space offers up to the size of the pictures and with which `_LEAST_EPOCHS` fit into the time, or
    else the recipe's.

    Args:
        config: A recipe with `minutes`.
        process: This process among those that train together.
        download: Fetch the data set where torchvision can.

    Raises:
        OfaToolkitError: The images are missing, or the recipe is bad.
    """
    assert config.minutes is not None
    least = _with(config, batch_size=1, resolution=None, epochs=None)
    dataset = open_run_dataset(least, download=download, takes_noise=True, resolution=_recipe_size(config))
    images = dataset.num_images("train")
    batch_size = min(config.training.batch_size, images)
    if batch_size % (process.world_size * config.training.accumulation):
        batch_size = config.training.batch_size  # the trainer refuses it in its own words
    timed = _with(config, batch_size=batch_size, resolution=_recipe_size(config), epochs=None)
    cost = predict_cost(timed, process, download=download)
    seconds = cost.total_cost.seconds_per_step * cost.steps_per_epoch
    allowed = 60 * config.minutes * _SHARE_OF_UPDATES
    side = _side(dataset)
    resolution = _recipe_size(config)
    for candidate in sorted(config.space.base.resolutions, reverse=True):
        growth = (candidate / _recipe_size(config)) ** 2
        if _recipe_size(config) < candidate <= side and seconds * growth * _LEAST_EPOCHS <= allowed:
            resolution, seconds = candidate, seconds * growth
            break
    epochs = max(1, min(_MOST_EPOCHS, int(allowed / seconds)))
    told = (
        f"Fitted to {config.minutes:g} min on this machine: {counted(epochs, 'epoch')} of "
        f"{counted(cost.steps_per_epoch, 'update')} with {batch_size} images at {resolution} pixels, "
        f"{seconds:.1f} s an epoch ({images} training images of {dataset.num_classes} classes, their shorter "
        f"side {side:.0f} pixels)."
    )
    if seconds > allowed:
        told += f" One epoch alone takes {seconds / 60:.1f} min."
    return Fitted(
        config=_with(config, batch_size=batch_size, resolution=resolution, epochs=epochs), told=told
    )


def as_fitted_before(config: RunConfig, stored: RunConfig) -> RunConfig:
    """A recipe with the values that were chosen when the run to resume was started."""
    return dataclasses.replace(
        config,
        space=dataclasses.replace(config.space, resolutions=stored.space.resolutions),
        training=dataclasses.replace(
            config.training, epochs=stored.training.epochs, batch_size=stored.training.batch_size
        ),
    )


def _recipe_size(config: RunConfig) -> int:
    if len(config.space.resolutions) != 1:
        raise ConfigError("minutes: the recipe must name one resolution.", hint="--set space.resolutions=96")
    return config.space.resolutions[0]


def _with(config: RunConfig, *, batch_size: int, resolution: int | None, epochs: int | None) -> RunConfig:
    space, training = config.space, dataclasses.replace(config.training, batch_size=batch_size)
    if resolution is not None:
        space = dataclasses.replace(space, resolutions=(resolution,))
    if epochs is not None:
        training = dataclasses.replace(training, epochs=epochs)
    return dataclasses.replace(config, space=space, training=training)


def _side(dataset: ImageDataset) -> float:
    """Median of the shorter sides of some training pictures, in pixels; of those that can be read."""
    seen = itertools.islice(dataset.pictures("train"), _PICTURES)
    sides = [min(picture.width, picture.height) for picture in seen if picture.problem is None]
    return statistics.median(sides) if sides else 0.0

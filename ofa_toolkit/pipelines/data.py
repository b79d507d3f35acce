"""Look at a data set before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ofa_toolkit.core import config as configuration
from ofa_toolkit.datasets import ImageDataset, open_dataset
from ofa_toolkit.datasets.image_folder import IN_MEMORY_RESOLUTION
from ofa_toolkit.datasets.report import check_sizes_are_used
from ofa_toolkit.datasets.unlabelled import add_unlabelled
from ofa_toolkit.training.config import DataConfig


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What of a recipe decides which images there are."""

    data: DataConfig = field(default_factory=DataConfig)
    "Source and splits of the images."


def open_for_showing(source: str, overrides: Iterable[str] = (), *, download: bool = False) -> ImageDataset:
    """Open a data set with the splits that training would use.

    Args:
        source: Such as `imagefolder:DIR`.
        overrides: Settings such as `data.test_size=20`.
        download: Fetch the data set where torchvision can.

    Raises:
        ConfigError: A setting is bad.
        DataError: The data set is missing, malformed, or lacks images of a class.
    """
    values = configuration.apply_overrides({"data": {"source": source}}, overrides)
    settings = configuration.from_dict(_Settings, values).data
    dataset = open_dataset(
        source,
        download=download,
        validation_size=settings.validation_size,
        test_size=settings.test_size,
        seed=settings.split_seed,
        class_list=settings.class_list,
        convert=settings.convert,
        # Photos stay in their files, where their sizes and modes are seen.
        resolution=IN_MEMORY_RESOLUTION + 1,
    )
    check_sizes_are_used(dataset, settings.validation_size, settings.test_size)
    add_unlabelled(dataset, settings.unlabelled, transforms=settings.transforms)
    return dataset

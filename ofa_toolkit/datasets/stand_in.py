"""Noise in the number and size of a data set's images, to time training without having them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ofa_toolkit.datasets.dataset import Batch, BatchRequest, ImageDataset, Picture, Split
from ofa_toolkit.datasets.splits import VALIDATION_AT_MOST, VALIDATION_SHARE
from ofa_toolkit.datasets.transforms import Preprocessing

StandInName = Literal["imagenet", "imagenet100", "imagenette", "cifar10", "cifar100", "photos"]


@dataclass(frozen=True, kw_only=True)
class _Size:
    classes: int
    train: int
    test: int


_SIZES: dict[StandInName, _Size] = {
    "imagenet": _Size(classes=1000, train=1_281_167, test=50_000),
    "imagenet100": _Size(classes=100, train=128_117, test=5_000),  # a tenth; the true sum depends on the list
    "imagenette": _Size(classes=10, train=9_469, test=3_925),
    "cifar10": _Size(classes=10, train=50_000, test=10_000),
    "cifar100": _Size(classes=100, train=50_000, test=10_000),
    "photos": _Size(classes=4, train=400, test=100),  # a user's own, in general
}


class StandIn(ImageDataset):
    """A data set of normalised noise.

    Args:
        name: Data set that it stands for.
        resolution: Side of the images in pixels.
        validation_size: Images held out of train; the usual number where None.
    """

    def __init__(self, name: StandInName, *, resolution: int, validation_size: int | None) -> None:
        size = _SIZES[name]
        classes = [str(label) for label in range(size.classes)]
        labels = {count: np.arange(count, dtype=np.int64) % size.classes for count in (size.train, size.test)}
        held_out = validation_size or min(VALIDATION_AT_MOST, int(VALIDATION_SHARE * size.train))
        super().__init__(
            name=f"noise in the place of {name}",
            class_names=classes,
            labels={
                "train": labels[size.train][held_out:],
                "validation": labels[size.train][:held_out],
                "test": labels[size.test],
            },
            preprocessing=Preprocessing(
                size=resolution, mean=[0.0] * 3, std=[1.0] * 3, interpolation="bilinear", crop=1.0
            ),
        )

    def pictures(self, split: Split) -> Iterator[Picture]:
        """Describe every image of a split: noise is stored nowhere."""
        for row in range(self.num_images(split)):
            yield Picture(name=f"{split} {row}", problem="noise, made when it is needed")

    def _content(self, split: Split) -> Iterable[bytes]:
        return (f"{self.name} {split} {self.num_images(split)}".encode(),)

    def _load(
        self, split: Split, requests: Iterable[BatchRequest], device: torch.device | str
    ) -> Iterator[Batch]:
        for request in requests:
            rows = request.rows[request.part]
            noise = torch.Generator().manual_seed(int(rows[0]))
            images = torch.randn(len(rows), 3, request.resolution, request.resolution, generator=noise)
            yield images.to(device), torch.from_numpy(self.labels[split][rows]).to(device)

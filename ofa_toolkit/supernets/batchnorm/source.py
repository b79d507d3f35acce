"""Where the batch-norm statistics of an extracted network come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BatchNormSource:
    """Where the batch-norm statistics come from.

    Attributes:
        kind: `data`: images given for the export; `carried`: images in the supernet's folder; `stored`:
            the supernet's own statistics, because the user said so; `own`: those of a network trained after
            it was cut out.
        images: The images, in words or as a data source.
        num_images: Number of images.
        seed: Seed of the images' choice and augmentation.
    """

    kind: Literal["data", "carried", "stored", "own"]
    images: str
    num_images: int
    seed: int

"""Measures subnets of one supernet on one data set."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ofa_toolkit.datasets import ImageDataset, Split
from ofa_toolkit.evaluation.accuracy import RECALIBRATION_IMAGES, Accuracy, evaluate_subnet
from ofa_toolkit.spaces import Subnet
from ofa_toolkit.zoo.supernet import LoadedSupernet, SupernetLike, load_supernet


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """A supernet and the images its subnets are measured on.

    Attributes:
        supernet: The supernet.
        dataset: Prepared as the supernet's training images were.
        device: Where to compute.
        batch_size: Images of a forward pass.
        limit: Measure on this many images of a split; all where None.
        recalibration_images: Training images for batch-norm statistics.
    """

    supernet: LoadedSupernet
    dataset: ImageDataset
    device: torch.device
    batch_size: int = 200
    limit: int | None = None
    recalibration_images: int = RECALIBRATION_IMAGES

    def accuracy(self, subnet: Subnet, split: Split) -> Accuracy:
        """Measure one subnet on a split, batch norm recalibrated."""
        return evaluate_subnet(
            self.supernet.network,
            subnet,
            self.dataset,
            split=split,
            batch_size=self.batch_size,
            limit=self.limit,
            recalibration_images=self.recalibration_images,
            device=self.device,
        )


def open_evaluator(
    supernet: SupernetLike,
    data: str,
    *,
    validation_size: int | None = None,
    test_size: int | None = None,
    batch_size: int = 200,
    limit: int | None = None,
    recalibration_images: int = RECALIBRATION_IMAGES,
    device: str | None = None,
    download: bool = False,
    num_workers: int = 0,
) -> Evaluator:
    """Open a supernet and the images to measure it on.

    Raises:
        OfaToolkitError: One of them is missing or damaged, or they do not belong together.
    """
    supernet = load_supernet(supernet)
    supernet.network.eval()  # reads the weights: what is wrong with them is told before images are opened
    dataset = supernet.open_images(
        data,
        validation_size=validation_size,
        test_size=test_size,
        download=download,
        num_workers=num_workers,
    )
    return Evaluator(
        supernet=supernet,
        dataset=dataset,
        device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        batch_size=batch_size,
        limit=limit,
        recalibration_images=recalibration_images,
    )

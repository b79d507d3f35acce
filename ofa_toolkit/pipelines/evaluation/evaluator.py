"""Measures subnets of one supernet on one data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ofa_toolkit.datasets import Batch, ImageDataset, Split
from ofa_toolkit.evaluation.accuracy import (
    RECALIBRATION_IMAGES,
    Accuracy,
    evaluate_subnet,
    recalibration_batches,
)
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.spaces import Subnet
from ofa_toolkit.zoo.supernet import LoadedSupernet, SupernetLike, load_supernet


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """A supernet and the images its subnets are measured on.

    Attributes:
        supernet: The supernet.
        dataset: Prepared as the supernet's training images were.
        device: Device to compute on.
        request: Number of images, batch size and recalibration.
    """

    supernet: LoadedSupernet
    dataset: ImageDataset
    device: torch.device
    request: EvaluationRequest

    @property
    def recalibration_images(self) -> int:
        """Training images for the batch-norm statistics of subnets that share weights with others."""
        if self.request.recalibration_images is not None:
            return self.request.recalibration_images
        return RECALIBRATION_IMAGES

    def training_batches(self, resolution: int) -> Iterator[Batch]:
        """Training images to recompute batch-norm statistics from, on the device."""
        return recalibration_batches(
            self.dataset,
            resolution,
            batch_size=self.request.batch_size,
            limit=self.recalibration_images,
            device=self.device,
        )

    def judged_batches(self, split: Split, resolution: int) -> Iterator[Batch]:
        """Images and labels to judge on, as many as the request says, on the device."""
        return self.dataset.batches(
            split,
            self.request.batch_size,
            resolution=resolution,
            limit=self.request.images,
            device=self.device,
        )

    def accuracy(self, subnet: Subnet, split: Split | None = None) -> Accuracy:
        """Measure one subnet, batch norm recalibrated; on the split asked for where none is given."""
        has_own = self.request.recalibration_images is None and self.supernet.has_statistics_of(subnet)
        return evaluate_subnet(
            self.supernet.network,
            subnet,
            self.dataset,
            split=split or self.request.split,
            batch_size=self.request.batch_size,
            limit=self.request.images,
            recalibration_images=0 if has_own else self.recalibration_images,
            device=self.device,
        )


def open_evaluator(supernet: SupernetLike, request: EvaluationRequest) -> Evaluator:
    """Open a supernet and the images to measure it on.

    Raises:
        OfaToolkitError: One of them is missing or damaged, or they do not belong together.
    """
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    supernet = load_supernet(supernet)
    supernet.network.eval()  # reads the weights: what is wrong with them is told before images are opened
    dataset = supernet.open_images(
        request.data,
        validation_size=request.validation_size,
        test_size=request.test_size,
        download=request.download,
        num_workers=request.num_workers,
    )
    device = request.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Evaluator(supernet=supernet, dataset=dataset, device=torch.device(device), request=request)

"""What is done with pretrained weights before the first update; see `StartConfig`."""

from __future__ import annotations

import torch

from ofa_toolkit.core.reporting import Reporter
from ofa_toolkit.core.rng import torch_seed
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.evaluation.accuracy import recalibration_batches
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.supernets.batchnorm.fitting import fit_batchnorm
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.probe import fit_classifier


def start(
    config: RunConfig, supernet: Supernet, dataset: ImageDataset, device: torch.device, reporter: Reporter
) -> None:
    """Prepare the weights in place: the same in every process, and for equal seeds.

    Args:
        config: The run.
        supernet: With the weights of `init`, on the device.
        dataset: Data set whose training images are used.
        device: Device to compute on.
        reporter: Hears what was done.
    """
    largest = config.space.trained(supernet.space.num_classes).largest()
    if config.start.probe:
        batches = dataset.batches(
            "train", config.validation.batch_size, resolution=largest.resolution, device=device
        )
        seed = torch_seed(config.training.seed, "probe")
        right = fit_classifier(supernet, largest, batches, seed=seed)
        reporter.message(
            "Classifier fitted to the features of the largest network: "
            f"{right:.1f} % of the training images right when left out."
        )
    if config.start.fit_batchnorm:
        batches = recalibration_batches(
            dataset,
            largest.resolution,
            batch_size=config.validation.batch_size,
            limit=config.validation.recalibration_images,
            device=device,
        )
        used = fit_batchnorm(supernet, largest, batches)
        reporter.message(
            f"Batch norm fitted to {used} training images; the largest network computes the same as before."
        )

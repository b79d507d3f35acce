"""Give a supernet's folder images for batch-norm statistics, and tell how well they replace real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import MismatchError
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.datasets.dataset import Split
from ofa_toolkit.evaluation.accuracy import RECALIBRATION_IMAGES, RECALIBRATION_SEED, evaluate
from ofa_toolkit.pipelines.evaluate import open_judge
from ofa_toolkit.pipelines.export_network import read_carried_images
from ofa_toolkit.spaces import Subnet, sample_subnets
from ofa_toolkit.supernets import Supernet, extract, recalibrate_batchnorm
from ofa_toolkit.supernets.batchnorm_images import save_batchnorm_images, synthesize_batchnorm_images

_BATCH = 128
_POOL = 32


@dataclass(frozen=True, kw_only=True)
class CarriedAccuracy:
    """Accuracy of one subnet with statistics from real and from synthetic images.

    Attributes:
        subnet: The subnet; none of the pool the images were made with.
        real_percent: Top-1 with statistics of real training images.
        carried_percent: Top-1 with statistics of the images in the folder.
    """

    subnet: Subnet
    real_percent: float
    carried_percent: float

    @property
    def difference(self) -> float:
        """Points lost by having no real images."""
        return self.real_percent - self.carried_percent


def make_batchnorm_images(
    folder: str | Path,
    data: str,
    *,
    num_images: int = 256,
    num_steps: int = 700,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> Path:
    """Optimise synthetic images on a pool of subnets and write them into a supernet's folder.

    Raises:
        MismatchError: The data has no statistics to normalise with, or other classes.
    """
    judge = open_judge(str(folder), data, device="cpu")
    space, dataset = judge.trained_space, judge.dataset
    resolution = max(space.resolutions)
    random = sample_subnets(space, _POOL - 2, rng.generator(seed, "batch-norm images"), resolution=resolution)
    pool = [space.largest(resolution), space.smallest(resolution), *random]
    preprocessing = judge.description.get("preprocessing")
    if preprocessing is None:
        raise MismatchError(f"'{folder}' does not say how its images are normalised.")
    pixels = synthesize_batchnorm_images(
        judge.supernet,
        pool,
        lambda: _real(dataset, resolution),
        mean=preprocessing["mean"],
        std=preprocessing["std"],
        num_images=num_images,
        batch_size=_BATCH,
        num_steps=num_steps,
        seed=seed,
        progress=on_step,
    )
    return save_batchnorm_images(folder, pixels)


def judge_batchnorm_images(
    folder: str | Path,
    data: str,
    *,
    num_subnets: int = 20,
    num_images: int | None = None,
    seed: int = 1,
    on_subnet: Callable[[CarriedAccuracy], None] | None = None,
) -> list[CarriedAccuracy]:
    """Compare both kinds of statistics on random subnets and held-out images."""
    judge = open_judge(str(folder), data, device="cpu")
    carried = read_carried_images(Path(folder), judge.description)
    if carried is None:
        raise MismatchError(f"'{folder}' carries no images for batch-norm statistics.")
    results = []
    for subnet in sample_subnets(judge.trained_space, num_subnets, np.random.default_rng(seed)):
        real, synthetic = (
            _top1(judge.supernet, subnet, batches, judge.dataset, num_images)
            for batches in (_real(judge.dataset, subnet.resolution), torch.split(carried, _BATCH))
        )
        results.append(CarriedAccuracy(subnet=subnet, real_percent=real, carried_percent=synthetic))
        if on_subnet is not None:
            on_subnet(results[-1])
    return results


def _real(dataset: ImageDataset, resolution: int) -> Iterable[tuple[Tensor, Tensor]]:
    return dataset.batches(
        "train",
        _BATCH,
        resolution=resolution,
        train_transforms=True,
        limit=RECALIBRATION_IMAGES,
        seed=RECALIBRATION_SEED,
    )


def _top1(
    supernet: Supernet,
    subnet: Subnet,
    batches: Iterable[Tensor | tuple[Tensor, ...]],
    dataset: ImageDataset,
    num_images: int | None,
) -> float:
    network = extract(supernet, subnet)
    recalibrate_batchnorm(network, batches)
    network.to(memory_format=torch.channels_last)
    split: Split = "validation" if dataset.num_images("validation") else "test"
    judged = dataset.batches(split, 200, resolution=subnet.resolution, limit=num_images)
    return evaluate(network.eval(), judged).top1_percent

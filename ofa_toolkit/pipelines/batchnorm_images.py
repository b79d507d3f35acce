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
from ofa_toolkit.evaluation.accuracy import RECALIBRATION_SEED, evaluate, recalibration_batches
from ofa_toolkit.pipelines.evaluate import Judge, open_judge
from ofa_toolkit.pipelines.export_network import read_carried_images
from ofa_toolkit.spaces import SearchSpace, Subnet, sample_subnets
from ofa_toolkit.supernets import Supernet, extract, recalibrate_batchnorm
from ofa_toolkit.supernets.batchnorm_images import (
    BATCH,
    at_resolution,
    largest_number,
    save_batchnorm_images,
    synthesize_batchnorm_images,
)
from ofa_toolkit.supernets.batchnorm_targets import StatisticsTarget, measure_target

DEFAULT_SUBNETS = 96
DEFAULT_STEPS = 500
_TARGET_IMAGES = 512


@dataclass(frozen=True, kw_only=True)
class CarriedAccuracy:
    """Accuracy of one subnet with statistics from real and from synthetic images.

    Attributes:
        subnet: The subnet; none of the pool the images were made with.
        real_percent: Top-1 with statistics of real training images.
        carried_percent: Top-1 with statistics of the images in the folder.
        other_percent: Top-1 with statistics of other real training images, as many: what chance does.
    """

    subnet: Subnet
    real_percent: float
    carried_percent: float
    other_percent: float

    @property
    def difference(self) -> float:
        """Points lost by having no real images."""
        return self.real_percent - self.carried_percent


def make_batchnorm_images(
    folder: str | Path,
    data: str,
    *,
    num_images: int | None = None,
    num_subnets: int = DEFAULT_SUBNETS,
    num_steps: int = DEFAULT_STEPS,
    seed: int = 0,
    checkpoint: Path | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Path:
    """Optimise synthetic images on a pool of subnets and write them into a supernet's folder.

    The pool has the largest and the smallest subnet at every resolution and random ones, each with its
    statistics on training images of its own, so that their noise averages out over the pool.

    Args:
        folder: Of the supernet.
        data: The images it was trained on.
        num_images: How many to make; default as many as `largest_number` says.
        num_subnets: Size of the pool.
        num_steps: Steps of the optimisation.
        seed: Of pool, noise and order.
        checkpoint: File that unfinished images are kept in.
        on_step: Told how many of `num_subnets + num_steps` steps are done.

    Raises:
        MismatchError: The data has no statistics to normalise with, or other classes.
    """
    judge = open_judge(str(folder), data, device="cpu")
    preprocessing = judge.description.get("preprocessing")
    if preprocessing is None:
        raise MismatchError(f"'{folder}' does not say how its images are normalised.")
    targets = []
    for number, subnet in enumerate(_pool(judge.trained_space, num_subnets, seed)):
        targets.append(_target(judge, subnet, number, seed))
        if on_step is not None:
            on_step(number + 1)
    size = max(judge.trained_space.resolutions)
    pixels = synthesize_batchnorm_images(
        judge.supernet,
        targets,
        mean=preprocessing["mean"],
        std=preprocessing["std"],
        size=size,
        num_images=num_images or largest_number(size),
        num_steps=num_steps,
        seed=seed,
        checkpoint=checkpoint,
        progress=None if on_step is None else lambda done, _: on_step(len(targets) + done),
    )
    return save_batchnorm_images(folder, pixels)


def _pool(space: SearchSpace, num_subnets: int, seed: int) -> list[Subnet]:
    ends = [end(resolution) for resolution in space.resolutions for end in (space.largest, space.smallest)]
    random = rng.generator(seed, "batch-norm images")
    return [*ends, *sample_subnets(space, max(0, num_subnets - len(ends)), random)][:num_subnets]


def _target(judge: Judge, subnet: Subnet, number: int, seed: int) -> StatisticsTarget:
    batches = recalibration_batches(
        judge.dataset,
        subnet.resolution,
        batch_size=BATCH,
        limit=_TARGET_IMAGES,
        seed=int(rng.generator(seed, "batch-norm targets", number).integers(2**31)),
    )
    return measure_target(judge.supernet, subnet, batches, torch.Generator().manual_seed(seed + number))


def judge_batchnorm_images(
    folder: str | Path,
    data: str,
    *,
    num_subnets: int = 20,
    num_images: int | None = None,
    seed: int = 1,
    on_subnet: Callable[[CarriedAccuracy], None] | None = None,
) -> list[CarriedAccuracy]:
    """Compare both kinds of statistics on random subnets, on the test images or `num_images` of them."""
    judge = open_judge(str(folder), data, device="cpu")
    carried = read_carried_images(Path(folder), judge.description)
    if carried is None:
        raise MismatchError(f"'{folder}' carries no images for batch-norm statistics.")
    results = []
    for subnet in sample_subnets(judge.trained_space, num_subnets, np.random.default_rng(seed)):
        sources = (
            recalibration_batches(judge.dataset, subnet.resolution, batch_size=BATCH),
            torch.split(at_resolution(carried, subnet.resolution), BATCH),
            recalibration_batches(
                judge.dataset, subnet.resolution, batch_size=BATCH, seed=RECALIBRATION_SEED + 1
            ),
        )
        real, synthetic, other = (
            _top1(judge.supernet, subnet, batches, judge.dataset, num_images) for batches in sources
        )
        results.append(
            CarriedAccuracy(subnet=subnet, real_percent=real, carried_percent=synthetic, other_percent=other)
        )
        if on_subnet is not None:
            on_subnet(results[-1])
    return results


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
    judged = dataset.batches("test", 200, resolution=subnet.resolution, limit=num_images)
    return evaluate(network.eval(), judged).top1_percent

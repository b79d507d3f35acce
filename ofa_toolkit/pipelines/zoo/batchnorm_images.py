"""Give a supernet's folder what replaces images for batch-norm statistics, and tell how well it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import MismatchError
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.evaluation.accuracy import recalibration_batches
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator, open_evaluator
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.spaces import SearchSpace, Subnet, sample_subnets
from ofa_toolkit.supernets import extract, recalibrate_batchnorm
from ofa_toolkit.supernets.batchnorm.carried_statistics import (
    normalized,
    write_carried_statistics,
)
from ofa_toolkit.supernets.batchnorm.corrections import largest_size, measure_corrections
from ofa_toolkit.supernets.batchnorm.images import largest_number, synthesize_batchnorm_images
from ofa_toolkit.supernets.batchnorm.targets import StatisticsTarget, measure_target

DEFAULT_SUBNETS = 160
DEFAULT_STEPS = 1600
DEFAULT_CORRECTION_SUBNETS = 160
_TARGET_IMAGES = 512
_CORRECTION_IMAGES = 1500
_BATCH = 128


def make_batchnorm_images(
    folder: str | Path,
    data: str,
    *,
    num_images: int | None = None,
    num_subnets: int = DEFAULT_SUBNETS,
    num_steps: int = DEFAULT_STEPS,
    num_correction_subnets: int = DEFAULT_CORRECTION_SUBNETS,
    seed: int = 0,
    checkpoint: Path | None = None,
    reporter: Reporter = SILENT,
) -> Path:
    """Optimise synthetic images on a pool of subnets, measure what they get wrong on another, write both.

    Both pools have the largest subnet at every resolution, the first the smallest as well; the others are
    random, in the second as many at each resolution. Each subnet has its statistics on training images of
    its own, so that their noise averages out.

    Args:
        folder: Folder of the supernet.
        data: The images it was trained on.
        num_images: Number of images to make; default as many as `largest_number` says.
        num_subnets: Size of the first pool.
        num_steps: Steps of the optimisation.
        num_correction_subnets: Size of the second pool, which has at least one at each resolution.
        seed: Seed of pools, noise and order.
        checkpoint: File that unfinished images are kept in.
        reporter: Hears how many of `num_subnets + num_steps + num_correction_subnets` steps are done.

    Raises:
        MismatchError: The data has no statistics to normalise with, or other classes.
    """
    evaluator = open_evaluator(folder, EvaluationRequest(data=data, device="cpu"))
    supernet = evaluator.supernet
    preprocessing = supernet.preprocessing
    if preprocessing is None:
        raise MismatchError(f"'{folder}' does not say how its images are normalised.")
    total = num_subnets + num_steps + num_correction_subnets

    def tell(done: int) -> None:
        reporter.progress(Progress("Making images for batch-norm statistics", done, total))

    targets = []
    for number, subnet in enumerate(_pool(supernet.trained_space, num_subnets, seed)):
        targets.append(_target(evaluator, subnet, number, seed))
        tell(number + 1)
    resolutions = supernet.trained_space.resolutions
    if num_images is None:
        largest = extract(supernet.network, supernet.trained_space.largest())
        num_images = largest_number(max(resolutions), largest_size(largest, len(resolutions)))
    pixels = synthesize_batchnorm_images(
        supernet.network,
        targets,
        mean=preprocessing["mean"],
        std=preprocessing["std"],
        size=max(resolutions),
        num_images=num_images,
        num_steps=num_steps,
        seed=seed,
        checkpoint=checkpoint,
        progress=lambda step, _: tell(len(targets) + step),
    )
    networks = _networks(
        evaluator, num_correction_subnets, seed, lambda n: tell(len(targets) + num_steps + n)
    )
    corrections = measure_corrections(normalized(pixels, preprocessing), networks, resolutions)
    return write_carried_statistics(folder, pixels, corrections)


def _pool(space: SearchSpace, num_subnets: int, seed: int) -> list[Subnet]:
    ends = [end(resolution) for resolution in space.resolutions for end in (space.largest, space.smallest)]
    random = rng.generator(seed, "batch-norm images")
    return [*ends, *sample_subnets(space, max(0, num_subnets - len(ends)), random)][:num_subnets]


def _target(evaluator: Evaluator, subnet: Subnet, number: int, seed: int) -> StatisticsTarget:
    batches = _batches(evaluator, subnet, _TARGET_IMAGES, rng.generator(seed, "batch-norm targets", number))
    return measure_target(
        evaluator.supernet.network, subnet, batches, torch.Generator().manual_seed(seed + number)
    )


def _networks(
    evaluator: Evaluator, num_subnets: int, seed: int, on_subnet: Callable[[int], None]
) -> Iterator[tuple[int, nn.Module]]:
    """Subnets with statistics of real images, and their resolutions."""
    space, random = evaluator.supernet.trained_space, rng.generator(seed, "batch-norm corrections")
    subnets = [space.largest(resolution) for resolution in space.resolutions]
    for _, resolution in zip(range(num_subnets - len(subnets)), cycle(space.resolutions)):
        subnets += sample_subnets(space, 1, random, resolution=resolution)
    for number, subnet in enumerate(subnets):
        network = extract(evaluator.supernet.network, subnet).to(memory_format=torch.channels_last)
        recalibrate_batchnorm(network, _batches(evaluator, subnet, _CORRECTION_IMAGES, random))
        yield subnet.resolution, network
        on_subnet(number + 1)


def _batches(
    evaluator: Evaluator, subnet: Subnet, num_images: int, random: np.random.Generator
) -> Iterator[tuple[Tensor, ...]]:
    return recalibration_batches(
        evaluator.dataset,
        subnet.resolution,
        batch_size=_BATCH,
        limit=num_images,
        seed=int(random.integers(2**31)),
    )

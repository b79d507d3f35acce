"""Synthetic images for batch-norm statistics: what they are compared by, and that making them helps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import DataError
from ofa_toolkit.spaces import Subnet, get_space, restrict, sample_subnets
from ofa_toolkit.supernets import Supernet, extract, recalibrate_batchnorm
from ofa_toolkit.supernets.batchnorm.carried_statistics import (
    at_resolution,
    normalized,
    write_carried_statistics,
)
from ofa_toolkit.supernets.batchnorm.corrections import measure_corrections
from ofa_toolkit.supernets.batchnorm.images import (
    LARGEST_FILE,
    largest_number,
    synthesize_batchnorm_images,
)
from ofa_toolkit.supernets.batchnorm.targets import (
    StatisticsTarget,
    measure_target,
    mismatch,
    statistics_errors,
)

SPACE = restrict(
    get_space("mobilenet-v3-compact").with_num_classes(4).with_resolutions((8, 16)),
    depths=[1],
    expand_ratios=[3],
)
PREPROCESSING = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    """Untrained, but with outputs that tell images apart."""
    torch.manual_seed(0)
    supernet = Supernet(SPACE).eval()
    with torch.no_grad():
        supernet.layer("classifier").weighted.weight.mul_(30)
    return supernet


def real_images(resolution: int, seed: int = 1, num_images: int = 200) -> torch.Tensor:
    """Smooth and coloured, unlike noise; the same pictures at every resolution."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(num_images, 3, 4, 4, generator=generator) + torch.tensor([0.8, 0.0, -0.5]).view(
        1, 3, 1, 1
    )
    return functional.interpolate(coarse, size=resolution, mode="bilinear")


def target_of(supernet: Supernet, subnet: Subnet) -> StatisticsTarget:
    batches: tuple[torch.Tensor, ...] = torch.split(real_images(subnet.resolution), 100)
    return measure_target(supernet, subnet, batches, torch.Generator().manual_seed(0))


def test_images_match_themselves_and_others_do_not(supernet: Supernet) -> None:
    images = real_images(16)
    target = measure_target(supernet, SPACE.largest(16), [images], torch.Generator().manual_seed(0))

    def cost(images: torch.Tensor) -> float:
        return float(mismatch(target, statistics_errors(supernet, target, images)))

    assert cost(images) < 1e-6
    others = real_images(16, seed=2)
    assert cost(2 * images) > 10 * cost(others) > 0


def test_a_target_needs_images(supernet: Supernet) -> None:
    with pytest.raises(DataError, match="no images"):
        measure_target(supernet, SPACE.smallest(8), [], torch.Generator())


@torch.no_grad()
def test_the_mismatch_is_what_wrong_statistics_cost(supernet: Supernet) -> None:
    """A channel's mean or variance is set wrong; the predictions move as far as the sensitivities say."""
    subnet, images = SPACE.largest(8), real_images(8, num_images=400)
    with torch.enable_grad():
        target = measure_target(supernet, subnet, [images], torch.Generator().manual_seed(0))
    network = extract(supernet, subnet)
    recalibrate_batchnorm(network, [images])
    right = network(images).log_softmax(1)

    def divergence() -> float:
        now = network(images).log_softmax(1)
        return float(functional.kl_div(now, right, log_target=True, reduction="batchmean"))

    said, found = 0.0, 0.0
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm, wanted in list(zip(norms, target.norms.values(), strict=True))[1::6]:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, variance = norm.running_mean.clone(), norm.running_var.clone()
        for channel in range(4):
            norm.running_mean[channel] += 0.05 * (variance[channel] + norm.eps).sqrt()
            found += divergence()
            norm.running_mean.copy_(mean)
            norm.running_var[channel] = (variance[channel] + norm.eps) * math.exp(2 * 0.05) - norm.eps
            found += divergence()
            norm.running_var.copy_(variance)
            sensitivity = wanted.shift_sensitivity[channel] + wanted.scale_sensitivity[channel]
            said += float(sensitivity) * 0.05**2 / 2
    assert found > 0
    assert said == pytest.approx(found, rel=0.3)


def test_made_images_serve_subnets_and_resolutions_alike(supernet: Supernet) -> None:
    random = rng.generator(0, "pool")
    pool = [subnet for size in (8, 16) for subnet in sample_subnets(SPACE, 6, random, resolution=size)]
    steps: list[int] = []

    def made(num_steps: int) -> torch.Tensor:
        return synthesize_batchnorm_images(
            supernet,
            [target_of(supernet, subnet) for subnet in pool],
            mean=PREPROCESSING["mean"],
            std=PREPROCESSING["std"],
            size=16,
            num_images=16,
            num_steps=num_steps,
            progress=lambda done, _: steps.append(done),
        )

    pixels, noise = made(60), made(0)
    assert steps == list(range(1, 61))
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (16, 3, 16, 16))
    for size in (8, 16):
        others = sample_subnets(SPACE, 20, random, resolution=size)
        target = target_of(supernet, next(subnet for subnet in others if subnet not in pool))
        uncorrected = []
        for p in (pixels, noise):
            images = at_resolution(normalized(p, PREPROCESSING), size)
            uncorrected.append(float(mismatch(target, statistics_errors(supernet, target, images))))
        assert uncorrected[0] < uncorrected[1] / 3
    costs = [costs_elsewhere(supernet, normalized(p, PREPROCESSING), pool) for p in (pixels, noise)]
    assert all(made < 0.6 * unmade for made, unmade in zip(*costs, strict=True))


def costs_elsewhere(supernet: Supernet, images: torch.Tensor, pool: list[Subnet]) -> list[float]:
    """Of corrected statistics, in a subnet of either size that is not in the pool."""
    random = rng.generator(0, "elsewhere")
    fresh = [subnet for size in (8, 16) for subnet in sample_subnets(SPACE, 8, random, resolution=size)]
    fresh = [subnet for subnet in fresh if subnet not in pool]
    networks = ((subnet.resolution, extract(supernet, subnet)) for subnet in fresh[1:-1])

    def real() -> Iterator[tuple[int, torch.nn.Module]]:
        for resolution, network in networks:
            recalibrate_batchnorm(network, [real_images(resolution)])
            yield resolution, network

    corrections = measure_corrections(images, real(), SPACE.resolutions)
    costs = []
    for subnet in (fresh[0], fresh[-1]):
        target, row = target_of(supernet, subnet), SPACE.resolutions.index(subnet.resolution)
        errors = statistics_errors(supernet, target, at_resolution(images, subnet.resolution))
        for name, shift in corrections.shifts.items():
            if name in errors:
                usual = torch.stack([shift[row], corrections.log_scales[name][row]])
                errors[name] -= usual[:, : errors[name].shape[1]]
        costs.append(float(mismatch(target, errors)))
    return costs


@pytest.mark.parametrize(("size", "number"), [(32, 128), (48, 89), (64, 50), (96, 22), (224, 4), (600, 1)])
def test_as_many_images_as_fit_into_the_file(tmp_path: Path, size: int, number: int) -> None:
    assert largest_number(size) == number
    if number > 1:
        pixels = torch.zeros(number, 3, size, size, dtype=torch.uint8)
        path = write_carried_statistics(tmp_path, pixels, corrections=None)
        assert path.stat().st_size <= LARGEST_FILE

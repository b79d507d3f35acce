"""Images made up so that batch-norm statistics come out as they do on the training images.

A subnet needs statistics of its own, and its user may have no images. Synthetic ones are optimised until, in
a pool of subnets, the mean and variance in front of every batch norm agree with those on real images, but for
what they are off by in all subnets, which `batchnorm_corrections` puts right: the images have to tell what is
particular to a subnet. They serve subnets outside the pool as well, since layers are shared. No real image
enters them.

Departures from the data-free methods this follows (DeepInversion, Yin et al. 2020; ZeroQ, Cai et al. 2020):
targets are measured on real images once per subnet instead of taken from stored running statistics, which in
a supernet fit no subnet; each channel counts by what an error in it does to the predictions; and errors that
are common to all subnets are corrected instead of optimised away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ofa_toolkit.core import files
from ofa_toolkit.supernets.batchnorm.carried_statistics import at_resolution
from ofa_toolkit.supernets.batchnorm.targets import StatisticsTarget, mismatch, statistics_errors
from ofa_toolkit.supernets.supernet import Supernet

MOST_IMAGES = 128
"""They are optimised, and later used, as one batch."""

LARGEST_FILE = 620_000
"""Bytes, with the corrections: a small entry should stay small."""
_HEADER = 1_000
_CHECKPOINT_STEPS = 50
_LEARNING_RATE = 0.1
"""Of Adam, in normalised pixel values; it falls to 0 along a cosine."""

Progress = Callable[[int, float], None]


def largest_number(size: int, num_bytes: int = 0) -> int:
    """How many images of `size` pixels a side are made: what `num_bytes` leave of `LARGEST_FILE`."""
    return max(1, min(MOST_IMAGES, (LARGEST_FILE - _HEADER - num_bytes) // (3 * size**2)))


def synthesize_batchnorm_images(
    supernet: Supernet,
    targets: Sequence[StatisticsTarget],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: int,
    num_images: int,
    num_steps: int,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Optimise images until their batch-norm statistics are off from real ones by the same in every subnet.

    Args:
        supernet: Left unchanged.
        targets: A pool of subnets, at any resolutions, with their statistics on real images.
        mean: Per-channel mean that pixels in 0..1 are normalised with.
        std: Per-channel divisor.
        size: Side of the images in pixels; for other resolutions they are resized.
        num_images: Number of images to make; all of them make up one batch.
        num_steps: Steps of Adam, each with one subnet of the pool.
        seed: Seed of the initial noise and of the order.
        checkpoint: File that unfinished images are kept in, and taken from when it was made with the same
            settings.
        progress: Called with the number of steps done and the step's mismatch in nats.

    Returns:
        Pixels `(num_images, 3, size, size)`, uint8.
    """
    offset, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    low, high = -offset / scale, (1 - offset) / scale
    images = _noise(num_images, size, torch.Generator().manual_seed(seed)).clamp(low, high).requires_grad_()
    optimizer = torch.optim.Adam([images], lr=_LEARNING_RATE, betas=(0.9, 0.99))
    settings = [num_images, size, num_steps, _LEARNING_RATE, seed, len(targets)]
    usual = _UsualErrors(targets)
    first = 0 if checkpoint is None else _resume(checkpoint, settings, images, optimizer, usual)
    for step in range(first, num_steps):
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 + math.cos(math.pi * step / num_steps)) / 2
        target = targets[_turn(step, len(targets), seed)]
        resolution = target.subnet.resolution
        errors = statistics_errors(supernet, target, at_resolution(images, resolution))
        cost = mismatch(target, usual.taken_from(resolution, errors))
        usual.update(resolution, errors)
        optimizer.zero_grad()
        cost.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            images.copy_(images.clamp(low, high))
        if progress is not None:
            progress(step + 1, float(cost.detach()))
        if checkpoint is not None and (step + 1) % _CHECKPOINT_STEPS == 0:
            _keep(checkpoint, settings, step + 1, images, optimizer, usual)
    pixels: Tensor = images.detach() * scale + offset
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8)


def _turn(step: int, num_targets: int, seed: int) -> int:
    """Each subnet once in every pass over the pool, in an order of the pass's own."""
    generator = torch.Generator().manual_seed(seed + step // num_targets)
    return int(torch.randperm(num_targets, generator=generator)[step % num_targets])


class _UsualErrors:
    """Running means of the errors at each resolution, over the subnets that have the channel."""

    _RATE = 0.1

    def __init__(self, targets: Sequence[StatisticsTarget]) -> None:
        self.means: dict[str, Tensor] = {}
        for target in targets:
            for name, norm in target.norms.items():
                key, channels = f"{target.subnet.resolution} {name}", len(norm.mean)
                if key not in self.means or self.means[key].shape[1] < channels:
                    self.means[key] = torch.zeros(2, channels)

    def taken_from(self, resolution: int, errors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is particular to a subnet."""
        return {name: error - self._mean(resolution, name, error) for name, error in errors.items()}

    def update(self, resolution: int, errors: dict[str, Tensor]) -> None:
        for name, error in errors.items():
            self._mean(resolution, name, error).lerp_(error.detach(), self._RATE)

    def _mean(self, resolution: int, name: str, error: Tensor) -> Tensor:
        return self.means[f"{resolution} {name}"][:, : error.shape[1]]


def _keep(
    path: Path,
    settings: list[Any],
    step: int,
    images: Tensor,
    optimizer: torch.optim.Optimizer,
    usual: _UsualErrors,
) -> None:
    state = {
        "settings": settings,
        "step": step,
        "images": images.detach(),
        "adam": optimizer.state_dict(),
        "usual": usual.means,
    }
    with files.atomic_path(path) as temporary:
        torch.save(state, temporary)


def _resume(
    path: Path,
    settings: list[Any],
    images: Tensor,
    optimizer: torch.optim.Optimizer,
    usual: _UsualErrors,
) -> int:
    """Put everything back to where it was; the number of steps done."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    if state["settings"] != settings:
        return 0
    with torch.no_grad():
        images.copy_(state["images"])
    optimizer.load_state_dict(state["adam"])
    usual.means = state["usual"]
    return int(state["step"])


def _noise(num_images: int, size: int, generator: torch.Generator) -> Tensor:
    """Unit-variance noise with as much energy at each scale, as in natural images, `(N, 3, R, R)`."""
    scales = []
    side = 1
    while side <= size:
        layer = torch.randn(num_images, 3, side, side, generator=generator)
        scales.append(functional.interpolate(layer, size=(size, size), mode="nearest"))
        side *= 2
    noise: Tensor = torch.stack(scales).sum(0) / len(scales) ** 0.5
    return noise

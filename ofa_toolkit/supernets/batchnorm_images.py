"""Images made up so that batch-norm statistics come out as they do on the training images.

A subnet needs statistics of its own, and its user may have no images. A few hundred synthetic ones are
optimised until, in a pool of subnets, the mean and variance in front of every batch norm agree with those on
real images. They serve subnets outside the pool as well, since layers are shared. No real image enters them.

Departure from the data-free methods this follows (DeepInversion, Yin et al. 2020; ZeroQ, Cai et al. 2020):
targets are measured on real images once per subnet instead of taken from stored running statistics, which in
a supernet fit no subnet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ofa_toolkit.core import files
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets.batchnorm import recalibrate_batchnorm
from ofa_toolkit.supernets.extraction import extract
from ofa_toolkit.supernets.supernet import Supernet

FILE = "batchnorm_images.safetensors"
FORMAT = "ofa-toolkit/batchnorm-images"

Progress = Callable[[int, float], None]


def synthesize_batchnorm_images(
    supernet: Supernet,
    subnets: Sequence[Subnet],
    real_batches: Callable[[], Iterable[Tensor | tuple[Tensor, ...]]],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    num_images: int = 256,
    batch_size: int = 128,
    num_steps: int = 700,
    learning_rate: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Optimise images whose batch-norm statistics agree with those on real images.

    Args:
        supernet: Left unchanged.
        subnets: The pool, all at one resolution R: the largest, the smallest, some dozens of random ones.
        real_batches: Gives the real, normalised images `(N, 3, R, R)` anew at each call.
        mean: Per-channel mean that pixels in 0..1 are normalised with.
        std: Per-channel divisor.
        num_images: How many to make.
        batch_size: Images of a step: the images are compared, and later used, in batches of this.
        num_steps: Steps of Adam, each with one subnet of the pool and one batch.
        learning_rate: Of Adam, in normalised pixel values; falls to 0 along a cosine.
        seed: Of the initial noise and the order.
        progress: Called with the number of steps done and the step's mismatch.

    Returns:
        Pixels `(num_images, 3, R, R)`, uint8.
    """
    generator = torch.Generator().manual_seed(seed)
    networks = [_Target(supernet, subnet, real_batches()) for subnet in subnets]
    low = (0 - torch.tensor(mean)).div(torch.tensor(std)).view(1, 3, 1, 1)
    high = (1 - torch.tensor(mean)).div(torch.tensor(std)).view(1, 3, 1, 1)
    images = _noise(num_images, subnets[0].resolution, generator).clamp(low, high).requires_grad_()
    optimizer = torch.optim.Adam([images], lr=learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for step in range(num_steps):
        target = networks[int(torch.randint(len(networks), (1,), generator=generator))]
        # Always the same batches: a random one would add the noise of its choice to every comparison.
        start = batch_size * int(torch.randint(-(-num_images // batch_size), (1,), generator=generator))
        mismatch = target.mismatch(images[start : start + batch_size])
        optimizer.zero_grad()
        mismatch.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            images.copy_(images.clamp(low, high))
        if progress is not None:
            progress(step + 1, float(mismatch.detach()))
    pixels = images.detach() * torch.tensor(std).view(1, 3, 1, 1) + torch.tensor(mean).view(1, 3, 1, 1)
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8)


def save_batchnorm_images(folder: str | Path, pixels: Tensor) -> Path:
    """Write uint8 pixels `(N, 3, R, R)` beside a supernet, where export finds them."""
    path = Path(folder) / FILE
    files.write_bytes(
        path, safetensors.torch.save({"images": pixels.contiguous()}, metadata={"format": FORMAT})
    )
    return path


class _Target:
    """One subnet, with the statistics that real images give in front of each of its batch norms."""

    def __init__(
        self, supernet: Supernet, subnet: Subnet, batches: Iterable[Tensor | tuple[Tensor, ...]]
    ) -> None:
        self._network: fx.GraphModule = extract(supernet, subnet).eval().requires_grad_(False)
        recalibrate_batchnorm(self._network, batches)
        self._terms: list[Tensor] = []
        for norm in self._network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.register_forward_pre_hook(self._compare)
        self._network.to(memory_format=torch.channels_last)

    def _compare(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Add a norm's mismatch, and hand on what makes it normalise with the batch's own statistics."""
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        (x,) = inputs
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        wanted = norm.running_var + norm.eps
        shift = (mean - norm.running_mean).square() / wanted
        spread = ((variance + norm.eps) / wanted).log().square()
        self._terms.append((shift + spread).mean())
        # The norm stays in evaluation mode: undo the batch's statistics, apply the stored ones.
        scale = (wanted / (variance + norm.eps)).sqrt()
        return ((x - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + norm.running_mean.view(1, -1, 1, 1),)

    def mismatch(self, images: Tensor) -> Tensor:
        """Mean over the batch norms of squared shifts (in deviations) and squared log ratios of variances."""
        self._terms.clear()
        self._network(images.contiguous(memory_format=torch.channels_last))
        return torch.stack(self._terms).mean()


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

"""Batch norm of a pretrained network fitted to a user's images without changing what the network computes.

A network pretrained on a thousand classes has seen each channel's mean and spread over all of them. A user's
few classes have others, and recomputing the statistics on them (`recalibrate_batchnorm`), or training with
batch statistics, moves every channel: what sets those classes apart from all others, which the following
layers rely on, is normalised away. So the difference is written into scale and shift once, before training:
with mean m and variance v of a channel on the user's images and the stored mean M and variance V,

    weight' = weight * sqrt((v + eps) / (V + eps)),   bias' = bias + weight * (m - M) / sqrt(V + eps),

and m, v take the place of M, V. The network computes the same as before; from then on the statistics of the
user's images are the right ones, for it and, near enough, for its subnets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.modules import ElasticBatchNorm, ElasticLayer
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets.supernet import Supernet


class _Moments:
    """Sums over all positions of a layer's input, channel by channel."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        values = x.double()
        self.count += x.numel() // x.shape[1]
        self.sum = self.sum + values.sum((0, 2, 3))
        self.squares = self.squares + values.square().sum((0, 2, 3))

    @property
    def mean(self) -> Tensor:
        return torch.as_tensor(self.sum / self.count)

    @property
    def mean_square(self) -> Tensor:
        return torch.as_tensor(self.squares / self.count)


@contextmanager
def _in_evaluation(supernet: Supernet) -> Iterator[None]:
    modes = [(module, module.training) for module in supernet.modules()]
    supernet.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def _inputs(
    supernet: Supernet, subnet: Subnet, batches: Iterable[tuple[Tensor, Tensor]], kind: type[nn.Module]
) -> tuple[dict[str, _Moments], int]:
    """What modules of a kind see when a subnet runs in evaluation mode, by their names; and images seen."""
    found: dict[str, _Moments] = {}
    num_images = 0
    with ExitStack() as stack, _in_evaluation(supernet):
        for name, module in supernet.named_modules():
            if isinstance(module, kind):

                def hook(_module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                    if inputs[0].ndim == 4:
                        found.setdefault(name, _Moments()).add(inputs[0])

                stack.callback(module.register_forward_pre_hook(hook).remove)
        for images, *_ in batches:
            supernet(images, subnet)
            num_images += len(images)
    if num_images == 0:
        raise DataError("There are no images to fit batch norm to.", hint="Check the data set and its split.")
    return found, num_images


@torch.no_grad()
def fit_batchnorm(supernet: Supernet, subnet: Subnet, batches: Iterable[tuple[Tensor, Tensor]]) -> int:
    """Make the stored statistics of a subnet's layers those of images; what it computes stays the same.

    Args:
        supernet: Changed in place: statistics, scales and shifts of the channels the subnet uses.
        subnet: Whose function is kept, in general the largest.
        batches: Images (N, 3, R, R), first of each tuple.

    Returns:
        Number of images used.

    Raises:
        DataError: There was no image.
    """
    found, num_images = _inputs(supernet, subnet, batches, ElasticBatchNorm)
    modules = dict(supernet.named_modules())
    for name, moments in found.items():
        norm = modules[name]
        assert isinstance(norm, ElasticBatchNorm)
        channels = len(moments.mean)
        mean, variance = moments.mean, (moments.mean_square - moments.mean**2).clamp_(min=0)
        weight, bias, old_mean, old_variance = (
            tensor.data[:channels] for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        )
        deviation = (old_variance.double() + norm.eps).sqrt()
        bias.add_((weight.double() * (mean - old_mean.double()) / deviation).to(bias))
        weight.mul_(((variance + norm.eps).sqrt() / deviation).to(weight))
        old_mean.copy_(mean)
        old_variance.copy_(variance)
    return num_images


def input_norms(
    supernet: Supernet, subnet: Subnet, batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Root mean square of every input channel of every layer with weights, by the layer's name.

    Arguments and errors as of `fit_batchnorm`; nothing is changed.
    """
    found, _ = _inputs(supernet, subnet, batches, ElasticLayer)
    return {name: moments.mean_square.sqrt().float() for name, moments in found.items()}

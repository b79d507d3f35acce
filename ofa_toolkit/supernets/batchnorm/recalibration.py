"""Batch-norm statistics of one subnet, recomputed from images.

All subnets share one set of running statistics, which fits none of them: OFA, BigNAS and DϵpS therefore
recompute them for each subnet before it is judged or deployed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Literal

import torch
from torch import Tensor, nn

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.modules import ElasticBatchNorm
from ofa_toolkit.spaces.subnet import Subnet

Method = Literal["pooled", "mean_of_batches"]
_BatchNorm = (nn.BatchNorm2d, ElasticBatchNorm)


class _Statistics:
    """Running sums of one batch norm's batch means and variances, weighted by images."""

    def __init__(self) -> None:
        self.num_images = 0
        self.mean: Tensor | float = 0.0
        self.variance: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def add(self, num_images: int, mean: Tensor, variance: Tensor) -> None:
        self.num_images += num_images
        self.mean = self.mean + num_images * mean
        self.variance = self.variance + num_images * variance
        self.square = self.square + num_images * mean**2

    def result(self, method: Method) -> tuple[Tensor, Tensor]:
        mean = torch.as_tensor(self.mean / self.num_images)
        variance = torch.as_tensor(self.variance / self.num_images)
        if method == "pooled":
            variance = variance + torch.as_tensor(self.square / self.num_images) - mean**2
        return mean, variance


@torch.no_grad()
def recalibrate_batchnorm(
    network: nn.Module,
    batches: Iterable[Tensor | tuple[Tensor, ...]],
    *,
    subnet: Subnet | None = None,
    method: Method = "pooled",
    keeps: Collection[str] = (),
) -> int:
    """Replace running statistics by those of the given images; nothing else of the network changes.

    Each layer normalises with the current batch's statistics while they are collected, as in the
    reference; dropout is off. Mode and momentum of every module are as before when it returns, also
    after an exception, in which case the statistics are untouched.
    Source: OFA (Cai et al. 2020) reference code, `set_running_statistics`.

    Args:
        network: An extracted network, or a supernet (then `subnet` says which part to run, and only the
            leading channels it uses are written).
        batches: Image tensors `(N, 3, R, R)`, or tuples that start with one, as the data sets yield.
        subnet: Required for a supernet, None for a network.
        method: `pooled` is the exact variance over all images (mean of batch variances plus variance of
            batch means); `mean_of_batches` leaves the second term out, as the reference does.
        keeps: Names of layers whose batch norm keeps its statistics, and normalises by them.

    Returns:
        Number of images used.

    Raises:
        DataError: There was no image.
    """
    statistics: dict[nn.Module, _Statistics] = {}
    norms = [
        module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and name.removesuffix(".bn") not in keeps
    ]
    device = next(network.parameters()).device
    num_images = 0
    with ExitStack() as stack:
        _prepare(stack, network, norms, statistics)
        for batch in batches:
            images = (batch if isinstance(batch, Tensor) else batch[0]).to(device)
            if subnet is None:
                network(images)
            else:
                network(images, subnet)
            num_images += len(images)
    if num_images == 0:
        raise DataError("Batch-norm recalibration got no images.", hint="Check the data set and its split.")
    for norm, collected in statistics.items():
        mean, variance = collected.result(method)
        assert isinstance(norm.running_mean, Tensor)
        assert isinstance(norm.running_var, Tensor)
        norm.running_mean[: len(mean)] = mean.to(norm.running_mean)
        norm.running_var[: len(variance)] = variance.to(norm.running_var)
    return num_images


def batch_norms(network: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Batch norms of an extracted network and their names."""
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            yield name, module


def _prepare(
    stack: ExitStack,
    network: nn.Module,
    norms: Sequence[nn.BatchNorm2d | ElasticBatchNorm],
    statistics: dict[nn.Module, _Statistics],
) -> None:
    """Evaluation mode with batch norms in training mode and momentum 1, undone when the stack closes.

    With momentum 1 the running statistics after a call are those of its batch: collecting costs no
    second pass over the activations.
    """

    def collect(norm: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        (x,) = inputs
        assert isinstance(norm.running_mean, Tensor)
        assert isinstance(norm.running_var, Tensor)
        count = x.numel() // x.shape[1]
        # Running variances carry Bessel's correction; the batch itself is normalised without.
        biased = norm.running_var[: x.shape[1]].double() * ((count - 1) / count)
        mean = norm.running_mean[: x.shape[1]].double()
        statistics.setdefault(norm, _Statistics()).add(len(x), mean, biased)

    for module in network.modules():
        stack.callback(setattr, module, "training", module.training)
    network.eval()
    for norm in norms:
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            buffer = getattr(norm, name)
            stack.callback(buffer.copy_, buffer.clone())
        stack.callback(setattr, norm, "momentum", norm.momentum)
        norm.momentum = 1.0
        norm.training = True
        stack.callback(norm.register_forward_hook(collect).remove)

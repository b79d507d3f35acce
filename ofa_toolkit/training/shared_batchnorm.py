"""Batch norm with the statistics of the images of all processes that train together."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ofa_toolkit.modules import ElasticBatchNorm
from ofa_toolkit.training.distributed import in_contact


class _Gathered(torch.autograd.Function):
    """The values (n,) of every process as (processes, n); backwards, the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004
        """Gather `values` from all processes."""
        gathered = values.new_empty((dist.get_world_size(), *values.shape))
        with in_contact():
            dist.all_gather(list(gathered.unbind()), values.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        """Every process's loss depends on every process's values."""
        summed = gradients[0].contiguous().clone()
        with in_contact():
            dist.all_reduce(summed)
        return summed[dist.get_rank()]


def shared_batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    is_training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """`torch.nn.functional.batch_norm` with the statistics of all processes' images.

    One reduction in each direction; works on CPU, where torch's SyncBatchNorm does not. Processes may hold
    unequal numbers of images. Means and squared deviations are combined as by Chan et al. (1979): the
    difference E[x^2] - E[x]^2 would lose all digits where the mean is large.
    """
    if not is_training:
        return nn.functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    values = x if x.dtype == torch.float64 else x.float()
    count = values.numel() // values.shape[1]
    own_mean = values.mean((0, 2, 3))
    own_deviations = (values - own_mean[:, None, None]).square().sum((0, 2, 3))
    own = torch.cat([own_mean, own_deviations, own_mean.new_tensor([count])])
    gathered = cast(Tensor, _Gathered.apply(own))
    counts = gathered[:, -1:]
    means, deviations = gathered[:, :-1].chunk(2, dim=1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    variance = (deviations + counts * (means - mean).square()).sum(0) / total
    with torch.no_grad():
        running_mean.lerp_(mean.to(running_mean), momentum)
        running_var.lerp_((variance * total / (total - 1)).to(running_var), momentum)
    scale = weight * torch.rsqrt(variance + eps)
    normalized = (values - mean[:, None, None]) * scale[:, None, None] + bias[:, None, None]
    return normalized.to(x.dtype)


def share_batch_norm(supernet: nn.Module) -> None:
    """Make every elastic batch norm of a supernet use the statistics of all processes."""
    for module in supernet.modules():
        if isinstance(module, ElasticBatchNorm):
            module.normalize = shared_batch_norm

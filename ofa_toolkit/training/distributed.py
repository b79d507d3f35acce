"""One process or several: started by torchrun, joined by one reduction of gradients an update.

All passes of a step accumulate into the same gradients, which are averaged once, in one flat tensor. That
is simpler than DistributedDataParallel, which would have to be told which parameters each subnet leaves
out, and reduces as seldom as possible.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from ofa_toolkit.core.errors import TrainingError
from ofa_toolkit.modules import ElasticBatchNorm


@dataclass(frozen=True, kw_only=True)
class Process:
    """This process among those that train together.

    Attributes:
        rank: From 0.
        world_size: How many there are.
        device: Where this one computes.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this one writes files and reports."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients over the processes, in one reduction. Every process has the same ones."""
        if self.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = _flatten_dense_tensors(gradients)  # type: ignore[no-untyped-call]
        dist.all_reduce(flat)
        flat /= self.world_size
        _spread(flat, gradients)

    def average(self, values: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.world_size > 1:
            dist.all_reduce(values)
            values = values / self.world_size
        return values

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.world_size == 1:
            return flag
        votes = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(votes)
        return bool(votes.item() > 0)

    def average_buffers(self, module: nn.Module) -> None:
        """Average floating-point buffers (batch-norm statistics) over the processes."""
        if self.world_size == 1:
            return
        buffers = [b for b in module.buffers() if b.is_floating_point()]
        flat = _flatten_dense_tensors(buffers)  # type: ignore[no-untyped-call]
        dist.all_reduce(flat)
        flat /= self.world_size
        _spread(flat, buffers)

    def barrier(self) -> None:
        """Wait for the others."""
        if self.world_size > 1:
            dist.barrier()


def _spread(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copy the parts of a flat tensor back to where they came from."""
    parts = _unflatten_dense_tensors(flat, tensors)  # type: ignore[no-untyped-call]
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part)


def join(device: str | None = None) -> Process:
    """This process as torchrun describes it; a single one otherwise.

    Args:
        device: `cpu`, `cuda` or `cuda:N`; the GPU of this process's number where there is one, if None.

    Raises:
        TrainingError: The device does not exist here.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if chosen == "cuda":
        chosen = f"cuda:{local_rank}"
    try:
        place = torch.device(chosen)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(
            f"Device '{chosen}' cannot be used here: {str(error).splitlines()[0]}",
            hint="--device cpu, or see: ofa-tk doctor",
        ) from error
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return Process(device=place)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return Process(rank=dist.get_rank(), world_size=world_size, device=place)


def leave(process: Process) -> None:
    """Close the connection to the other processes."""
    if process.world_size > 1 and dist.is_initialized():
        dist.destroy_process_group()


class _SharedStatistics(torch.autograd.Function):
    """Sum over the processes, in the forward and (for the gradient) in the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004
        """Sum `values` over the processes."""
        summed = values.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        """Every process's loss depends on every process's values."""
        summed: Tensor = gradients[0].clone()
        dist.all_reduce(summed)
        return summed


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
    unequal numbers of images.
    """
    if not is_training:
        return nn.functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    values = x.float()
    count = torch.full((1,), values.numel() / values.shape[1], device=x.device)
    sums = torch.cat([values.sum((0, 2, 3)), (values * values).sum((0, 2, 3)), count])
    sums = cast(Tensor, _SharedStatistics.apply(sums))
    channels, total = x.shape[1], sums[-1]
    mean = sums[:channels] / total
    variance = sums[channels : 2 * channels] / total - mean * mean
    with torch.no_grad():
        running_mean.lerp_(mean.to(running_mean), momentum)
        running_var.lerp_((variance * total / (total - 1)).to(running_var), momentum)
    scale = weight * torch.rsqrt(variance + eps)
    shift = bias - mean * scale
    return (values * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def share_batch_norm(supernet: nn.Module) -> None:
    """Make every elastic batch norm of a supernet use the statistics of all processes."""
    for module in supernet.modules():
        if isinstance(module, ElasticBatchNorm):
            module.normalize = shared_batch_norm

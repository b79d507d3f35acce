"""One process or several: started by torchrun, joined by one reduction of gradients an update.

All passes of a step accumulate into the same gradients, which are averaged once, in one flat tensor. That
is simpler than DistributedDataParallel, which would have to be told which parameters each subnet leaves
out, and reduces as seldom as possible.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from ofa_toolkit.core.errors import OfaToolkitError, TrainingError, first_line

T = TypeVar("T")


class LostProcessError(TrainingError):
    """Another process of the same training has ended."""


@contextlib.contextmanager
def in_contact() -> Iterator[None]:
    """Say so where other processes cannot be reached; torch reports it in the words of its transport.

    Raises:
        LostProcessError: They cannot.
    """
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            f"Another training process has ended or cannot be reached ({first_line(error)}).",
            hint="Its own message says why. Run the same line again with --resume auto; torchrun does so "
            "by itself with --max-restarts.",
        ) from error


@dataclass(frozen=True, kw_only=True)
class Process:
    """This process among those that train together.

    Attributes:
        rank: From 0.
        world_size: Number of processes.
        device: Device that this process computes on.
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
        self._average_in_place(gradients)

    def average(self, values: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.world_size > 1:
            _sum_in_place(values)
            values = values / self.world_size
        return values

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.world_size == 1:
            return flag
        votes = torch.tensor([float(flag)], device=self.device)
        _sum_in_place(votes)
        return bool(votes.item() > 0)

    def agree(self, problem: str | None) -> str | None:
        """A problem that one process has is one of all; each tells its own, if it has one."""
        if not self.any(problem is not None):
            return None
        return problem or "another process has one"

    def average_buffers(self, module: nn.Module) -> None:
        """Average floating-point buffers (batch-norm statistics) over the processes."""
        if self.world_size == 1:
            return
        # Statistics that are kept are alike in all; an average could differ in the last bit.
        kept = {b for m in module.modules() if getattr(m, "momentum", None) == 0 for b in m.buffers()}
        self._average_in_place([b for b in module.buffers() if b.is_floating_point() and b not in kept])

    def from_main(self, action: Callable[[], T]) -> T:
        """Let the main process do something for all; returns what it returned, in every process.

        Raises:
            OfaToolkitError: The main process could not do it. The others say only that it stopped them.
        """
        if self.world_size == 1:
            return action()
        outcome: list[Any] = [None, None]
        failure: OfaToolkitError | None = None
        if self.is_main:
            try:
                outcome[0] = action()
            except OfaToolkitError as error:
                failure, outcome[1] = error, error.message
        with in_contact():
            dist.broadcast_object_list(outcome, src=0)
        if failure is not None:
            raise failure
        if outcome[1] is not None:
            raise TrainingError(f"Process {self.rank} stops with the main process: {outcome[1]}")
        result: T = outcome[0]
        return result

    def barrier(self) -> None:
        """Wait for the others."""
        if self.world_size > 1:
            with in_contact():
                dist.barrier()

    def _average_in_place(self, tensors: Sequence[Tensor]) -> None:
        flat = _flatten_dense_tensors(tensors)  # type: ignore[no-untyped-call]
        _sum_in_place(flat)
        flat /= self.world_size
        parts = _unflatten_dense_tensors(flat, tensors)  # type: ignore[no-untyped-call]
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part)


def _sum_in_place(values: Tensor) -> None:
    with in_contact():
        dist.all_reduce(values)


def join(device: str | None = None) -> Process:
    """This process as torchrun describes it; a single one otherwise.

    Args:
        device: `cpu`, `cuda` or `cuda:N`; the GPU of this process's number where there is one, if None.

    Raises:
        TrainingError: The device does not exist here, or the processes do not find each other.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    world_size = _environment_number("WORLD_SIZE", 1)
    if chosen == "cuda":
        chosen = f"cuda:{_environment_number('LOCAL_RANK', 0)}"
    try:
        place = torch.device(chosen)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(
            f"Device '{chosen}' cannot be used here: {first_line(error)}",
            hint="--device cpu, or see: ofa-tk doctor",
        ) from error
    if world_size == 1:
        return Process(device=place)
    if not dist.is_initialized():
        if place.type == "cuda":
            torch.cuda.set_device(place)  # where NCCL puts what it broadcasts
        try:
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"The {world_size} processes cannot find each other: {first_line(error)}",
                hint=_hint_to_meet(),
            ) from error
    return Process(rank=dist.get_rank(), world_size=world_size, device=place)


def _hint_to_meet() -> str:
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # Workers that are started again otherwise read the addresses of those before them.
        return "For torchrun with --max-restarts: export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
    return "torchrun sets what they need: torchrun --nproc-per-node N -m ofa_tk train ..."


def _environment_number(name: str, default: int) -> int:
    """A number that torchrun sets.

    Raises:
        TrainingError: It is none.
    """
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise TrainingError(
            f"The environment variable {name} is '{text}'; it has to be a number.", hint=f"unset {name}"
        )
    return int(text)


def leave(process: Process) -> None:
    """Close the connection to the other processes."""
    if process.world_size > 1 and dist.is_initialized():
        dist.destroy_process_group()

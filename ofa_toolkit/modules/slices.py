"""Slices of parameters, whose gradients can be added in place.

Autograd turns the gradient of a slice into one of the whole parameter: it fills zeros, copies, and adds,
three kernels and three times the memory traffic for every slice of every network of a step. Inside
`gradients_in_place` a slice is a leaf of its own instead, and its gradient is added to the slice of the
parameter's gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

Index = tuple[slice, ...]


class SliceGradients:
    """The slices that one forward pass took, until their gradients are added to those of the parameters."""

    def __init__(self) -> None:
        self._taken: list[tuple[nn.Parameter, Index, Tensor]] = []

    def take(self, parameter: nn.Parameter, index: Index) -> Tensor:
        """A leaf that shares the parameter's memory."""
        leaf = parameter.detach()[index].requires_grad_()
        self._taken.append((parameter, index, leaf))
        return leaf

    def add(self) -> None:
        """Add what the backward pass left in the slices, and forget them."""
        # One call adds many tensors in one launch on a GPU, if none of them has gaps.
        groups: dict[bool, tuple[list[Tensor], list[Tensor]]] = {False: ([], []), True: ([], [])}
        for parameter, index, leaf in self._taken:
            if leaf.grad is None:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            part = parameter.grad[index]
            sums, gradients = groups[part.stride() == leaf.grad.stride()]
            sums.append(part)
            gradients.append(leaf.grad)
        self._taken.clear()
        for sums, gradients in groups.values():
            if sums:
                torch._foreach_add_(sums, gradients)


_active: ContextVar[SliceGradients | None] = ContextVar("_active", default=None)


@contextmanager
def gradients_in_place() -> Iterator[SliceGradients]:
    """While active, `leading` gives leaves; call `add` of the result after each backward pass.

    `torch.autograd.grad` does not see the parameters through such leaves. Compiled networks keep plain
    slices.
    """
    slices = SliceGradients()
    token = _active.set(slices)
    try:
        yield slices
    finally:
        _active.reset(token)


def leading(parameter: nn.Parameter, *lengths: int, kernel: int | None = None) -> Tensor:
    """The leading entries of each dimension named, and the centre of a square kernel, differentiable.

    Args:
        parameter: A parameter of any shape.
        lengths: Sizes of the slice along the first dimensions.
        kernel: Side of the centre `(..., kernel, kernel)`; None for all of it.
    """
    index = [slice(length) for length in lengths]
    shape = list(lengths)
    if kernel is not None:
        start = (parameter.shape[-1] - kernel) // 2
        index += [slice(start, start + kernel)] * 2
        shape += [kernel, kernel]
    if tuple(shape) == parameter.shape[: len(shape)]:
        return parameter
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and parameter.requires_grad):
        return parameter[tuple(index)]
    slices = _active.get()
    return parameter[tuple(index)] if slices is None else slices.take(parameter, tuple(index))

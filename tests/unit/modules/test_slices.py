"""Gradients that are added in place are those that autograd gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ofa_toolkit.modules.slices import gradients_in_place, leading

SLICES = {
    "output channels": ((2,), None),
    "both channels": ((3, 4), None),
    "centre": ((5, 6), 3),
    "channels and centre": ((2, 3), 1),
    "whole": ((5, 6), 5),
}


def gradient(lengths: tuple[int, ...], kernel: int | None, *, in_place: bool) -> torch.Tensor:
    """Of two passes over a slice, the second of which sees a smaller one too."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(5, 6, 5, 5).double())
    factors = [torch.randn(5, 6, 5, 5).double() for _ in range(2)]
    for number, factor in enumerate(factors):
        if in_place:
            with gradients_in_place() as slices:
                _loss(weight, lengths, kernel, factor, with_smaller=number == 1).backward()
                slices.add()
        else:
            _loss(weight, lengths, kernel, factor, with_smaller=number == 1).backward()
    assert weight.grad is not None
    return weight.grad


def _loss(
    weight: nn.Parameter,
    lengths: tuple[int, ...],
    kernel: int | None,
    factor: torch.Tensor,
    *,
    with_smaller: bool,
) -> torch.Tensor:
    part = leading(weight, *lengths, kernel=kernel)
    loss = (part.pow(2) * factor[tuple(slice(length) for length in part.shape)]).sum()
    return loss + leading(weight, 1).sum() if with_smaller else loss


@pytest.mark.parametrize(("lengths", "kernel"), SLICES.values(), ids=SLICES)
def test_gradients(lengths: tuple[int, ...], kernel: int | None) -> None:
    wanted = gradient(lengths, kernel, in_place=False)
    torch.testing.assert_close(gradient(lengths, kernel, in_place=True), wanted, rtol=1e-12, atol=1e-12)


def test_the_centre_of_a_kernel() -> None:
    weight = nn.Parameter(torch.arange(25.0).reshape(1, 1, 5, 5))
    assert leading(weight, 1, 1, kernel=3)[0, 0].tolist() == [[6, 7, 8], [11, 12, 13], [16, 17, 18]]
    assert leading(weight, 1, 1, kernel=5) is weight


def test_a_frozen_parameter_gets_none() -> None:
    weight = nn.Parameter(torch.ones(4), requires_grad=False)
    with gradients_in_place() as slices:
        assert not leading(weight, 2).requires_grad
        slices.add()
    assert weight.grad is None

"""The fast depthwise gradients are those of `torch.nn.functional.conv2d`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_toolkit.modules.depthwise import depthwise_conv2d


def _inputs(
    batch: int, channels: int, height: int, width: int, kernel: tuple[int, int], seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, channels, height, width, generator=generator)
    weight = torch.randn(channels, 1, *kernel, generator=generator)
    return images.contiguous(memory_format=torch.channels_last), weight


def _gradients(
    images: Tensor, weight: Tensor, stride: int, padding: int, *, use_torch: bool, seed: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Output and both gradients for a random output gradient."""
    images, weight = images.detach().requires_grad_(), weight.detach().requires_grad_()
    if use_torch:
        output = F.conv2d(images, weight, None, stride, padding, groups=images.shape[1])
    else:
        output = depthwise_conv2d(images, weight, stride, padding)
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed))
    return output, *torch.autograd.grad(output, (images, weight), gradient.to(output.dtype))


def _assert_same_gradients(images: Tensor, weight: Tensor, stride: int, padding: int) -> None:
    """Equal to float64 but for the rounding of one float32 accumulator over all positions of the batch."""
    ours = _gradients(images, weight, stride, padding, use_torch=False)
    exact = _gradients(images.double(), weight.double(), stride, padding, use_torch=True)
    assert torch.equal(ours[0], _gradients(images, weight, stride, padding, use_torch=True)[0])
    num_products = max(64, exact[0][:, 0].numel())
    tolerance = torch.finfo(torch.float32).eps * num_products**0.5
    for our, true in zip(ours[1:], exact[1:], strict=True):
        assert our.dtype == torch.float32
        scale = true.abs().max().item() if true.numel() else 0.0
        torch.testing.assert_close(our, true.float(), rtol=0, atol=tolerance * scale)


SHAPES = [
    (32, 16, 32, 32),
    (2, 24, 32, 32),
    (4, 48, 16, 16),
    (3, 40, 8, 8),
    (5, 160, 4, 4),
    (1, 64, 2, 2),
    (2, 16, 1, 1),
    (3, 13, 9, 7),
    (1, 1, 5, 11),
    (0, 8, 6, 6),
]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_equal_those_of_conv2d(shape: tuple[int, int, int, int], kernel: int, stride: int) -> None:
    images, weight = _inputs(*shape, (kernel, kernel))
    _assert_same_gradients(images, weight, stride, kernel // 2)

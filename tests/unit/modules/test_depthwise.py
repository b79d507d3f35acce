"""The fast depthwise gradients are those of `torch.nn.functional.conv2d`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_toolkit.modules import depthwise
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
    (12, 16, 32, 32),
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


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((5, 5), 1, 0), ((5, 5), 2, 1), ((5, 5), 1, 4), ((7, 7), 3, 3), ((7, 7), 1, 6), ((3, 5), 1, 1)],
)
def test_unusual_paddings_strides_and_kernels(kernel: tuple[int, int], stride: int, padding: int) -> None:
    images, weight = _inputs(3, 24, 11, 9, kernel)
    _assert_same_gradients(images, weight, stride, padding)


def test_any_memory_layout() -> None:
    images, weight = _inputs(6, 32, 12, 14, (5, 5))
    _assert_same_gradients(images.contiguous(), weight, 1, 2)
    _assert_same_gradients(images[::2, 8:24, 1:-1, ::2], weight[8:24], 2, 2)
    large = torch.randn(32, 1, 7, 7, generator=torch.Generator().manual_seed(2))
    _assert_same_gradients(images, large[..., 1:6, 1:6], 1, 2)


def test_the_batch_is_cut_into_chunks_that_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    images, weight = _inputs(7, 16, 8, 8, (7, 7))
    monkeypatch.setattr(depthwise, "_CHUNK_BYTES", 3 * 16 * 8 * 11 * 4)
    geometry = depthwise._Geometry.of(images, images, weight, 1, 3)
    assert geometry.chunk == 3  # 3 + 3 + 1 images
    _assert_same_gradients(images, weight, 1, 3)
    _assert_same_gradients(images, weight, 2, 3)


def test_gradients_are_reproducible_bit_for_bit() -> None:
    images, weight = _inputs(32, 48, 16, 16, (5, 5))
    first, second = (_gradients(images, weight, 1, 2, use_torch=False) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("frozen", ["images", "weight"])
def test_only_wanted_gradients_are_computed(frozen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, weight = _inputs(2, 8, 6, 6, (5, 5))
    (weight if frozen == "images" else images).requires_grad_()
    monkeypatch.setattr(depthwise, f"_gradient_of_{frozen}", pytest.fail)
    depthwise_conv2d(images, weight, 1, 2).sum().backward()
    assert (images.grad is None) == (frozen == "images")
    assert (weight.grad is None) == (frozen == "weight")


def test_gradients_can_be_differentiated_again() -> None:
    results = []
    for use_torch in (False, True):
        images, weight = (part.detach().requires_grad_() for part in _inputs(2, 4, 6, 6, (5, 5)))
        if use_torch:
            output = F.conv2d(images, weight, None, 1, 2, groups=4)
        else:
            output = depthwise_conv2d(images, weight, 1, 2)
        first = torch.autograd.grad(output.square().sum(), (images, weight), create_graph=True)
        penalty = sum(part.square().sum() for part in first)
        assert isinstance(penalty, Tensor)
        results.append(torch.autograd.grad(penalty, (images, weight)))
    for our, their in zip(*results, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-4, atol=1e-3)


def test_float64_passes_gradcheck() -> None:
    images, weight = (part.double().requires_grad_() for part in _inputs(2, 3, 5, 6, (5, 5)))
    assert torch.autograd.gradcheck(lambda x, w: depthwise_conv2d(x, w, 2, 2), (images, weight))


def _uses_fast_path(output: Tensor) -> bool:
    return output.grad_fn is not None and "DepthwiseConv2d" in output.grad_fn.name()


def test_who_takes_the_fast_path() -> None:
    images, weight = _inputs(2, 4, 6, 6, (5, 5))
    wanted = weight.clone().requires_grad_()
    assert _uses_fast_path(depthwise_conv2d(images, wanted, 1, 2))
    assert not _uses_fast_path(depthwise_conv2d(images, weight, 1, 2))
    assert not _uses_fast_path(depthwise_conv2d(images, wanted[..., 1:4, 1:4], 1, 1))
    assert not _uses_fast_path(depthwise_conv2d(images.double(), wanted.double(), 1, 2))
    assert not _uses_fast_path(depthwise_conv2d(images.to("meta"), wanted.to("meta"), 1, 2))
    with torch.no_grad():
        assert not _uses_fast_path(depthwise_conv2d(images, wanted, 1, 2))


@pytest.mark.parametrize(("kernel", "stride", "is_exact"), [(5, 1, True), (3, 2, True), (3, 1, False)])
def test_autocast_leaves_what_is_slow_in_bfloat16_in_float32(
    kernel: int, stride: int, is_exact: bool
) -> None:
    images, weight = _inputs(4, 16, 8, 8, (kernel, kernel))
    exact = _gradients(images, weight, stride, kernel // 2, use_torch=False)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = _gradients(images, weight, stride, kernel // 2, use_torch=False)[0]
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, exact.bfloat16()) == is_exact
    torch.testing.assert_close(output.float(), exact, rtol=2e-2, atol=2e-2 * exact.abs().max().item())


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (3, 2)])
def test_autocast_leaves_float64_as_it_is(kernel: int, stride: int) -> None:
    images, weight = (tensor.double() for tensor in _inputs(4, 16, 8, 8, (kernel, kernel)))
    exact = _gradients(images, weight, stride, kernel // 2, use_torch=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = _gradients(images, weight, stride, kernel // 2, use_torch=False)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_autocast_gives_the_gradients_of_the_float32_layer() -> None:
    images, weight = _inputs(4, 16, 8, 8, (5, 5))
    output, *exact = _gradients(images, weight, 2, 2, use_torch=False)
    images, weight = images.requires_grad_(), weight.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = depthwise_conv2d(images, weight, 2, 2)
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    found = torch.autograd.grad(rounded, (images, weight), gradient)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-2 * theirs.abs().max().item())


@pytest.mark.slow  # the first use of torch.func imports for seconds
def test_functional_transforms() -> None:
    images, weight = _inputs(2, 4, 6, 6, (5, 5))
    ours = torch.func.grad(lambda w: depthwise_conv2d(images, w, 1, 2).square().sum())(weight)
    theirs = torch.func.grad(lambda w: F.conv2d(images, w, None, 1, 2, groups=4).square().sum())(weight)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

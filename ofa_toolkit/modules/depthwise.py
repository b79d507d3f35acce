"""Depthwise convolution whose gradients are fast on a CPU; the forward pass is torch's own.

On a CPU torch leaves the weight gradient of a depthwise convolution to oneDNN. oneDNN has a depthwise kernel
for it, but only for kernels up to three taps wide; wider ones (5x5, 7x7) run in a dense kernel that connects
every 16 channels with each other and costs many times the forward pass. A weight gradient is, tap by tap, a
sum of products of the output gradient and the shifted input, so its columns can be computed apart. Here they
are computed three at a time, each group by the depthwise kernel on a shifted view of one zero-padded copy of
the input. The input gradient at stride 1 is a forward convolution with the kernel turned by 180 degrees.
In bfloat16 the gap is wider and includes every stride above 1, so autocast leaves those layers in float32.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

# The widest kernel that oneDNN's depthwise weight-gradient kernel takes.
_COLUMNS = 3

# Every group of columns reads the input again, so the batch is cut into chunks that stay in the cache
# meanwhile. The optimum is flat: 2 to 6 MiB measured alike on x86-64 (1 MiB of second-level cache a core).
_CHUNK_BYTES = 3 * 2**20


def depthwise_conv2d(images: Tensor, weight: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Convolve every channel with its own kernel, as `torch.nn.functional.conv2d(..., groups=channels)` does.

    The output is that of `conv2d`, bit for bit. Gradients equal its gradients to float32 rounding (the order
    of the sums differs) and are reproducible for a given number of threads. The fast path serves kernels
    wider than three in float32 on a CPU with oneDNN, outside compilation, when a gradient is wanted;
    everything else, CUDA above all, is plain `conv2d`. Under autocast on a CPU, kernels wider than three and
    strides above 1 are computed in float32 as well and only the output has autocast's type.

    Only first-order gradients are fast: under `create_graph=True` the backward pass is made of torch's own
    formulas, which can be differentiated again. The fast path offers no forward-mode differentiation.

    Args:
        images: (B, C, H, W) in any memory layout; channels-last is the fastest.
        weight: (C, 1, kernel height, kernel width).
        stride: The same in both directions.
        padding: Zeros on each side, the same in both directions.

    Returns:
        (B, C, H', W') with H' = (H + 2 * padding - kernel height) // stride + 1, and W' likewise.
    """
    if not _is_trained_by_onednn(images, weight):
        return _forward(images, weight, stride, padding)
    if torch.is_autocast_enabled("cpu"):
        is_double = torch.float64 in (images.dtype, weight.dtype)  # which autocast leaves as it is
        if is_double or (weight.shape[-1] <= _COLUMNS and stride == 1):
            return _forward(images, weight, stride, padding)
        with torch.autocast("cpu", enabled=False):
            output = depthwise_conv2d(images.float(), weight.float(), stride, padding)
        return output.to(torch.get_autocast_dtype("cpu"))
    if weight.shape[-1] > _COLUMNS and images.dtype == weight.dtype == torch.float32:
        return cast(Tensor, _DepthwiseConv2d.apply(images, weight, stride, padding))
    return _forward(images, weight, stride, padding)


def _is_trained_by_onednn(images: Tensor, weight: Tensor) -> bool:
    """Whether a gradient is wanted of a depthwise convolution that torch would leave to oneDNN."""
    return (
        not torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and (images.requires_grad or weight.requires_grad)
        and images.device.type == weight.device.type == "cpu"
        and images.dim() == weight.dim() == 4
        and weight.shape[:2] == (images.shape[1], 1)
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )


class _DepthwiseConv2d(torch.autograd.Function):
    @staticmethod
    def forward(images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        return _forward(images, weight, stride, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:  # noqa: ARG004
        images, weight, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,) = gradients
        images, weight = ctx.saved_tensors
        wants_images, wants_weight, _, _ = ctx.needs_input_grad
        of_images = of_weight = None
        if wants_images:
            of_images = _gradient_of_images(gradient, images, weight, ctx.stride, ctx.padding)
        if wants_weight:
            of_weight = _gradient_of_weight(gradient, images, weight, ctx.stride, ctx.padding)
        return of_images, of_weight, None, None


def _forward(images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return F.conv2d(images, weight, None, stride, padding, groups=images.shape[1])


def _gradient_of_images(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int
) -> Tensor:
    """Gradient with respect to the images, (B, C, H, W)."""
    height, width = weight.shape[2:]
    # Pixel x reaches output y by tap x - y + padding, so the gradient at x sums outputs under the kernel read
    # backwards: a convolution with the kernel turned by 180 degrees, padded so that its sides are the
    # image's. A stride would leave gaps between the outputs, and more padding than kernel would need a
    # negative one.
    if stride == 1 and height == width > padding:
        return _forward(gradient, weight.flip(2, 3), 1, height - 1 - padding)
    return _torch_gradients(gradient, images, weight, stride, (padding, padding), (True, False))[0]


def _gradient_of_weight(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int
) -> Tensor:
    """Gradient with respect to the weight, (C, 1, kernel height, kernel width)."""
    # In-place writes cannot be differentiated again, and a kernel of at most three columns is fast as it is.
    if torch.is_grad_enabled() or weight.shape[3] <= _COLUMNS or gradient.numel() == 0:
        return _torch_gradients(gradient, images, weight, stride, (padding, padding), (False, True))[1]
    geometry = _Geometry.of(gradient, images, weight, stride, padding)
    chunk = _PaddedChunk(gradient, images, weight, geometry)
    parts = [
        chunk.gradient_of_weight(
            gradient[start : start + geometry.chunk], images[start : start + geometry.chunk]
        )
        for start in range(0, images.shape[0], geometry.chunk)
    ]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _torch_gradients(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    stride: int,
    padding: tuple[int, int],
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor]:
    """Torch's own gradients with respect to images and weight, those that are wanted; differentiable."""
    of_images, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient,
        images,
        weight,
        None,
        (stride, stride),
        padding,
        (1, 1),
        False,
        (0, 0),
        images.shape[1],
        (*wanted, False),
    )
    return of_images, of_weight


class _Geometry(NamedTuple):
    """How a chunk of images lies in its padded copy, and the output gradient beside it.

    Rows are `pitch` pixels apart and begin with `padding` zeros, which are the right border of the row before
    as well. A view that begins j pixels later therefore shows every image shifted by j columns.
    """

    stride: int
    padding: int
    chunk: int  # images
    top: int  # rows of zeros above an image; 0 if oneDNN adds them
    rows: int
    pitch: int
    out_columns: int  # of the convolution of a row with three columns: the output gradient's, or a few more

    @classmethod
    def of(cls, gradient: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int) -> _Geometry:
        batch, channels, height, width = images.shape
        out_height, out_width = gradient.shape[2:]
        kernel_height = weight.shape[2]
        # Outside these limits oneDNN leaves its depthwise kernel, so the rows are padded here.
        is_native = height >= kernel_height > 2 * padding - 1 and (padding <= 1 or padding % stride == 0)
        rows = height if is_native else max(height + padding, (out_height - 1) * stride + kernel_height)
        pitch = max(width + padding, (out_width - 1) * stride + _COLUMNS)
        num_chunks = math.ceil(images.element_size() * batch * channels * rows * pitch / _CHUNK_BYTES)
        chunk = math.ceil(batch / min(batch, num_chunks))
        out_columns = (pitch - _COLUMNS) // stride + 1
        return cls(stride, padding, chunk, 0 if is_native else padding, rows, pitch, out_columns)


class _PaddedChunk:
    """Memory for a chunk of images and of output gradients with zeros around them, used chunk after chunk."""

    def __init__(self, gradient: Tensor, images: Tensor, weight: Tensor, geometry: _Geometry) -> None:
        self._geometry = geometry
        self._kernel = weight.shape[2], weight.shape[3]
        self._channels = images.shape[1]
        # The last view begins less than a kernel's width later than the images.
        pixels = geometry.chunk * geometry.rows * geometry.pitch + weight.shape[3]
        self._images = images.new_zeros(pixels, self._channels)
        self._gradient: Tensor | None = None
        if geometry.out_columns > gradient.shape[3]:
            shape = geometry.chunk, gradient.shape[2], geometry.out_columns, self._channels
            self._gradient = gradient.new_zeros(shape).permute(0, 3, 1, 2)

    def gradient_of_weight(self, gradient: Tensor, images: Tensor) -> Tensor:
        """What a chunk of images adds to the gradient with respect to the weight, (C, 1, height, width)."""
        geometry = self._geometry
        top, left = geometry.top, geometry.padding
        batch, _, height, width = images.shape
        self._shifted(batch, 0)[:, :, top : top + height, left : left + width].copy_(images)
        gradient = self._widened(gradient)
        kernel_height, kernel_width = self._kernel
        columns = images.new_empty(self._channels, 1, kernel_height, _COLUMNS)
        row_padding = geometry.padding - geometry.top
        groups = [
            _torch_gradients(
                gradient,
                self._shifted(batch, first),
                columns,
                geometry.stride,
                (row_padding, 0),
                (False, True),
            )[1]
            for first in range(0, kernel_width, _COLUMNS)
        ]
        return torch.cat(groups, 3)[..., :kernel_width]

    def _shifted(self, batch: int, columns: int) -> Tensor:
        """The padded images from so many columns on, (batch, C, rows, pitch), channels last."""
        rows, pitch = self._geometry.rows, self._geometry.pitch
        pixels = self._images[columns : columns + batch * rows * pitch]
        return pixels.view(batch, rows, pitch, self._channels).permute(0, 3, 1, 2)

    def _widened(self, gradient: Tensor) -> Tensor:
        """The output gradient with zeros to the right, (batch, C, H', `out_columns`), channels last."""
        if self._gradient is None:
            return gradient.contiguous(memory_format=torch.channels_last)
        wide = self._gradient[: len(gradient)]
        wide[..., : gradient.shape[3]].copy_(gradient)
        return wide

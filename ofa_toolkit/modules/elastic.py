"""Elastic convolution, linear layer and batch norm.

Each holds the weights of the largest choice and is told by a `LayerSpec` which slice to use: the leading
output and input channels, and the centre of the kernel, if wanted through OFA's transform matrices
(Cai et al. 2020, section 3, "Elastic Kernel Size").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_toolkit.modules.activations import activate
from ofa_toolkit.modules.depthwise import depthwise_conv2d
from ofa_toolkit.modules.slices import leading
from ofa_toolkit.spaces.layer_spec import LayerSpec


class ElasticConv(nn.Module):
    """Convolution whose output channels, input channels and kernel size are chosen per call.

    Args:
        layer: The largest choice.
        transform_sizes: Kernel sizes, ascending, between which a learned matrix leads from each to the
            next smaller one; empty for a plain centre crop. The matrices are shared by all channels.
    """

    def __init__(self, layer: LayerSpec, *, transform_sizes: Sequence[int] = ()) -> None:
        super().__init__()
        shape = (layer.out_channels, layer.in_channels // layer.groups, layer.kernel_size, layer.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(layer.out_channels)) if layer.bias else None
        self._transforms: tuple[tuple[int, int], ...] = tuple(
            zip(transform_sizes[1:], transform_sizes[:-1], strict=True)
        )
        for larger, smaller in self._transforms:
            self.register_parameter(matrix_name(larger, smaller), nn.Parameter(torch.eye(smaller**2)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as `torch.nn.Conv2d` does; matrices become the identity."""
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        if self.bias is not None:
            bound = self.weight[0].numel() ** -0.5
            nn.init.uniform_(self.bias, -bound, bound)
        for larger, smaller in self._transforms:
            nn.init.eye_(self.transform(larger, smaller))

    def transform(self, larger: int, smaller: int) -> Tensor:
        """The matrix `(smaller^2, smaller^2)` applied to the centre of a kernel of side `larger`."""
        return cast(Tensor, getattr(self, matrix_name(larger, smaller)))

    def active_weight(self, layer: LayerSpec) -> Tensor:
        """The weight `(out, in / groups, k, k)` that `layer` uses, differentiable."""
        channels, size = (layer.out_channels, layer.in_channels // layer.groups), self.weight.shape[-1]
        if size == layer.kernel_size or not self._transforms:
            return leading(self.weight, *channels, kernel=layer.kernel_size)
        # From 7x7 to 3x3 the way leads through 5x5: each matrix maps the centre of the next larger kernel as
        # it was transformed already, so 3x3 and 5x5 share the first step. One matrix serves all channels,
        # which keeps the cost at k^4 numbers a step, and it starts as the identity, which is the plain centre
        # crop.
        weight = leading(self.weight, *channels)
        for larger, smaller in reversed(self._transforms):
            if layer.kernel_size <= smaller < size:
                centre = _centre(weight, smaller)
                flat = F.linear(centre.flatten(2), self.transform(larger, smaller))
                weight, size = flat.view(centre.shape), smaller
        return weight

    def active_bias(self, layer: LayerSpec) -> Tensor | None:
        """The bias `(out,)` that `layer` uses."""
        return None if self.bias is None else leading(self.bias, layer.out_channels)

    def forward(self, x: Tensor, layer: LayerSpec) -> Tensor:
        """Convolve `(N, in, H, W)` as `layer` says."""
        weight, bias = self.active_weight(layer), self.active_bias(layer)
        if layer.extra_padding:
            x = F.pad(x, (0, layer.extra_padding, 0, layer.extra_padding))
        if layer.is_depthwise and bias is None:
            return depthwise_conv2d(x, weight, layer.stride, layer.padding)
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, groups=layer.groups)


def matrix_name(larger: int, smaller: int) -> str:
    """Name of the parameter that turns a kernel of side `larger` into one of side `smaller`."""
    return f"matrix_{larger}to{smaller}"


def _centre(weight: Tensor, size: int) -> Tensor:
    start = (weight.shape[-1] - size) // 2
    return weight[..., start : start + size, start : start + size]


class ElasticLinear(nn.Module):
    """Linear layer whose input features are chosen per call."""

    def __init__(self, layer: LayerSpec) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layer.out_channels, layer.in_channels))
        self.bias = nn.Parameter(torch.empty(layer.out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as `torch.nn.Linear` does."""
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.bias, -bound, bound)

    def active_weight(self, layer: LayerSpec) -> Tensor:
        """The weight `(out, in)` that `layer` uses."""
        return leading(self.weight, layer.out_channels, layer.in_channels)

    def active_bias(self, layer: LayerSpec) -> Tensor:
        """The bias `(out,)` that `layer` uses."""
        return leading(self.bias, layer.out_channels)

    def forward(self, x: Tensor, layer: LayerSpec) -> Tensor:
        """Map `(N, in)` to `(N, out)`."""
        return F.linear(x, self.active_weight(layer), self.active_bias(layer))


class ElasticBatchNorm(nn.Module):
    """Batch norm over the leading channels of its input; all subnets share scale, shift and statistics.

    A call in training mode updates the statistics of the channels it saw. Shared statistics fit no
    single subnet: recalibrate before judging accuracy.

    Args:
        num_channels: Channels of the largest choice.
        eps: Added to the variance.
        momentum: Share of the new batch in the running statistics (PyTorch's sense).
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_channels: int, *, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self._uses_stored = False
        # Training in several processes replaces it by one that shares statistics among them.
        self.normalize: Callable[..., Tensor] = F.batch_norm
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_var", torch.ones(num_channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.int64))

    def keep_statistics(self, *, uses_them: bool) -> None:
        """Change the statistics no more, and in training mode normalise by them or still by each batch."""
        self.momentum = 0.0
        self._uses_stored = uses_them
        self.train(self.training)

    def train(self, mode: bool = True) -> ElasticBatchNorm:
        """As of every module; statistics that are kept and used put it into evaluation mode for good."""
        return super().train(mode and not self._uses_stored)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(N, C, H, W)`, C at most `num_channels`."""
        if self.training and self.momentum:
            self.num_batches_tracked.add_(1)
        channels = x.shape[1]
        return self.normalize(
            x,
            self.running_mean[:channels],
            self.running_var[:channels],
            leading(self.weight, channels),
            leading(self.bias, channels),
            self.training,
            self.momentum,
            self.eps,
        )


class ElasticLayer(nn.Module):
    """A layer with weights: `conv` or `linear`, then `bn` where the specification has one, then activation.

    Args:
        layer: The largest choice.
        transform_sizes: See `ElasticConv`.
        bn_momentum: See `ElasticBatchNorm`.
    """

    def __init__(
        self, layer: LayerSpec, *, transform_sizes: Sequence[int] = (), bn_momentum: float = 0.1
    ) -> None:
        super().__init__()
        self._is_linear = layer.kind == "linear"
        if self._is_linear:
            self.linear = ElasticLinear(layer)
        else:
            self.conv = ElasticConv(layer, transform_sizes=transform_sizes)
        self.bn = (
            ElasticBatchNorm(layer.out_channels, eps=layer.bn_eps, momentum=bn_momentum)
            if layer.batch_norm
            else None
        )

    @property
    def weighted(self) -> ElasticConv | ElasticLinear:
        """The part that holds the weights."""
        return self.linear if self._is_linear else self.conv

    def forward(self, x: Tensor, layer: LayerSpec) -> Tensor:
        """Run the slice that `layer` describes."""
        x = self.weighted(x, layer)
        if self.bn is not None:
            x = self.bn(x)
        return activate(x, layer.activation)

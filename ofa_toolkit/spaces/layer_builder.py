"""Builds `LayerSpec` lists layer by layer, keeping track of names, channels and map sizes."""

from __future__ import annotations

from typing import NamedTuple

from ofa_toolkit.spaces.layer_spec import Activation, LayerKind, LayerSpec, Padding
from ofa_toolkit.spaces.rounding import squeeze_channels


class Flow(NamedTuple):
    """What one layer hands to the next: the producing layer's name, channels and map side."""

    layer: str
    channels: int
    size: int


def conv_out_size(size: int, kernel_size: int, stride: int) -> int:
    """Side of the map after a convolution with padding `kernel_size // 2`."""
    return (size + 2 * (kernel_size // 2) - kernel_size) // stride + 1


def conv_padding(size: int, kernel_size: int, stride: int, scheme: Padding) -> tuple[int, int]:
    """Zeros on every side of a convolution's input, and how many more below and to the right.

    TensorFlow's "same" padding gives the map sizes of the symmetric one, but takes no more zeros than the
    kernel reaches, an odd one at the end: at stride 2 it depends on whether `size` is even.
    """
    if scheme == "symmetric":
        return kernel_size // 2, 0
    read = (conv_out_size(size, kernel_size, stride) - 1) * stride + kernel_size
    before, extra = divmod(max(read - size, 0), 2)
    return before, extra


class LayerBuilder:
    """Collects layers and hands on what flows out of each.

    Args:
        bn_eps: Epsilon of every batch norm it adds.
        padding: Padding of every convolution that it adds.
    """

    def __init__(self, bn_eps: float, padding: Padding = "symmetric") -> None:
        self.layers: list[LayerSpec] = []
        self._bn_eps = bn_eps
        self._padding: Padding = padding

    def _add(self, layer: LayerSpec) -> Flow:
        self.layers.append(layer)
        return Flow(layer.name, layer.out_channels, layer.out_size)

    def conv(
        self,
        name: str,
        flow: Flow,
        out_channels: int,
        kernel_size: int,
        stride: int,
        activation: Activation | None,
        *,
        groups: int = 1,
        batch_norm: bool = True,
        bias: bool = False,
    ) -> Flow:
        """Convolution that keeps the map's size but for its stride, then batch norm and activation."""
        padding, extra_padding = conv_padding(flow.size, kernel_size, stride, self._padding)
        return self._add(
            LayerSpec(
                name=name,
                kind="conv",
                inputs=(flow.layer,),
                in_channels=flow.channels,
                out_channels=out_channels,
                in_size=flow.size,
                out_size=conv_out_size(flow.size, kernel_size, stride),
                kernel_size=kernel_size,
                stride=stride,
                padding=padding,
                extra_padding=extra_padding,
                groups=groups,
                bias=bias,
                batch_norm=batch_norm,
                bn_eps=self._bn_eps,
                activation=activation,
            )
        )

    def depthwise(
        self, name: str, flow: Flow, kernel_size: int, stride: int, activation: Activation | None
    ) -> Flow:
        """One kernel per channel."""
        return self.conv(name, flow, flow.channels, kernel_size, stride, activation, groups=flow.channels)

    def squeeze_excite(
        self,
        name: str,
        flow: Flow,
        hidden: int | None = None,
        *,
        activation: Activation = "relu",
        gate: Activation = "h_sigmoid",
    ) -> Flow:
        """Global pool, 1x1 reduce, 1x1 expand to a gate, multiply; MobileNetV3's unless told otherwise."""
        hidden = hidden or squeeze_channels(flow.channels)
        pooled = self.pool(f"{name}.pool", "global_avg_pool", flow, flow.size, 1)
        squeezed = self.conv(f"{name}.reduce", pooled, hidden, 1, 1, activation, batch_norm=False, bias=True)
        gated = self.conv(f"{name}.expand", squeezed, flow.channels, 1, 1, gate, batch_norm=False, bias=True)
        return self.join(f"{name}.scale", "scale", flow, gated)

    def join(
        self, name: str, kind: LayerKind, flow: Flow, other: Flow, activation: Activation | None = None
    ) -> Flow:
        """`add` or `scale` of two flows; the first gives the shape."""
        return self._add(
            LayerSpec(
                name=name,
                kind=kind,
                inputs=(flow.layer, other.layer),
                in_channels=flow.channels,
                out_channels=flow.channels,
                in_size=flow.size,
                out_size=flow.size,
                activation=activation,
            )
        )

    def pool(
        self,
        name: str,
        kind: LayerKind,
        flow: Flow,
        kernel_size: int,
        stride: int,
        *,
        ceil_mode: bool = False,
    ) -> Flow:
        """A pool over square windows; a max pool is padded by half its window."""
        padding = kernel_size // 2 if kind == "max_pool" else 0
        if kind == "global_avg_pool":
            out_size = 1
        elif ceil_mode:
            out_size = -(-flow.size // stride)
        else:
            out_size = conv_out_size(flow.size, kernel_size, stride)
        return self._add(
            LayerSpec(
                name=name,
                kind=kind,
                inputs=(flow.layer,),
                in_channels=flow.channels,
                out_channels=flow.channels,
                in_size=flow.size,
                out_size=out_size,
                kernel_size=kernel_size,
                stride=stride,
                padding=padding,
                ceil_mode=ceil_mode,
            )
        )

    def linear(self, name: str, flow: Flow, out_channels: int) -> Flow:
        """Fully connected layer with bias, on a map of side 1."""
        return self._add(
            LayerSpec(
                name=name,
                kind="linear",
                inputs=(flow.layer,),
                in_channels=flow.channels,
                out_channels=out_channels,
                in_size=1,
                out_size=1,
                bias=True,
            )
        )

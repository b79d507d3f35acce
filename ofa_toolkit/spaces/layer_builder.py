"""Builds `LayerSpec` lists layer by layer, keeping track of names, channels and map sizes."""

from __future__ import annotations

from dataclasses import dataclass

from ofa_toolkit.spaces.layer_spec import Activation, LayerKind, LayerSpec
from ofa_toolkit.spaces.rounding import squeeze_channels


@dataclass(frozen=True, slots=True)
class Flow:
    """What one layer hands to the next: the producing layer's name, channels and map side."""

    layer: str
    channels: int
    size: int


def conv_out_size(size: int, kernel_size: int, stride: int) -> int:
    """Side of the map after a convolution with padding `kernel_size // 2`."""
    return (size + 2 * (kernel_size // 2) - kernel_size) // stride + 1


class LayerBuilder:
    """Collects layers and hands on what flows out of each.

    Args:
        bn_eps: Epsilon of every batch norm it adds.
    """

    def __init__(self, bn_eps: float) -> None:
        self.layers: list[LayerSpec] = []
        self._bn_eps = bn_eps

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
        """Convolution padded by half its kernel, then batch norm and activation."""
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
                padding=kernel_size // 2,
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

    def squeeze_excite(self, name: str, flow: Flow) -> Flow:
        """Global pool, 1x1 reduce with ReLU, 1x1 expand with h-sigmoid, multiply."""
        hidden = squeeze_channels(flow.channels)
        pooled = self.pool(f"{name}.pool", "global_avg_pool", flow, flow.size, 1)
        squeezed = self.conv(f"{name}.reduce", pooled, hidden, 1, 1, "relu", batch_norm=False, bias=True)
        gate = self.conv(
            f"{name}.expand", squeezed, flow.channels, 1, 1, "h_sigmoid", batch_norm=False, bias=True
        )
        return self.join(f"{name}.scale", "scale", flow, gate)

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

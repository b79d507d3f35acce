"""One layer of a lowered network: all that costs, timing, extraction and the ONNX graph need to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

LayerKind = Literal[
    "conv", "linear", "global_avg_pool", "avg_pool", "max_pool", "add", "scale", "concat", "activation"
]
LAYER_KINDS: tuple[LayerKind, ...] = get_args(LayerKind)

Activation = Literal["relu", "relu6", "h_swish", "h_sigmoid", "swish", "sigmoid"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)

Padding = Literal["symmetric", "same"]
"""Zeros around a convolution's input: half the kernel on every side, or TensorFlow's "same"."""

NETWORK_INPUT = "input"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSpec:
    """A layer with its shapes; batch norm and activation belong to the layer they follow.

    Maps are square: a layer turns `(N, in_channels, in_size, in_size)` into
    `(N, out_channels, out_size, out_size)`; after `global_avg_pool` sizes are 1.

    Attributes:
        name: Unique in the network, and the prefix of the layer's parameters
            (`<name>.conv.weight`, `<name>.bn.bias`, `<name>.linear.weight`).
        kind: `conv` and `linear` have weights; `scale` multiplies its first input by its second
            (`(N, C, 1, 1)`), `add` sums its inputs, `concat` joins them along channels.
        inputs: Names of the layers it reads; `input` is the image.
        kernel_size, stride, padding: In pixels; of convolutions and pools.
        extra_padding: Rows below and columns right of a convolution's input beyond `padding` (TensorFlow's
            "same" padding is uneven at stride 2).
        groups: Channel groups of a convolution; equal to `in_channels` for a depthwise one.
        bias: Whether the convolution or linear layer has a bias of its own.
        batch_norm: Whether a batch norm follows.
        bn_eps: Epsilon of that batch norm.
        activation: Activation that follows last, or None.
        ceil_mode: Whether a pool rounds its output size up.
    """

    name: str
    kind: LayerKind
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    kernel_size: int = 1
    stride: int = 1
    padding: int = 0
    extra_padding: int = 0
    groups: int = 1
    bias: bool = False
    batch_norm: bool = False
    bn_eps: float = 1e-5
    activation: Activation | None = None
    ceil_mode: bool = False

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is convolved on its own."""
        return self.kind == "conv" and self.groups == self.in_channels and self.groups > 1

    @property
    def has_weights(self) -> bool:
        """Whether the layer multiplies by learned weights."""
        return self.kind in ("conv", "linear")

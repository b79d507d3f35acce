"""Standard networks as layers: what public measurements of whole networks were taken on.

Structures are those of torchvision and timm where they offer the network (`mobilenet_v2`,
`mobilenet_v3_large`, `efficientnet_b0`, `resnet50`, ...). The Jetson measurements of TensorFlow networks
were taken on Keras versions that differ in places; those carry the suffix `-keras`: MobileNetV3 with
squeeze-excite branches of full width, MnasNet with a head of 1152 channels. Borders are padded by half the
kernel where TensorFlow pads unevenly; map sizes are the same.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ofa_toolkit.core.errors import unknown_name
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, Activation, LayerSpec
from ofa_toolkit.spaces.rounding import make_divisible

_BN_EPS = 1e-5
_IMAGE_CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class _Block:
    """One MBConv block: `squeeze` is the hidden width of its squeeze-excite branch, 0 for none."""

    width: int
    kernel_size: int
    middle: int
    stride: int
    activation: Activation
    squeeze: int = 0
    gate: Activation = "h_sigmoid"
    squeeze_activation: Activation = "relu"


def standard_network(name: str, resolution: int, num_classes: int = 1000) -> tuple[LayerSpec, ...]:
    """Layers of a standard network in execution order.

    Args:
        name: One of `standard_network_names()`; families with a width multiplier take it as the last
            part, as in `mobilenet-v2-1.4`.
        resolution: Side of the square image in pixels.
        num_classes: Outputs of the classifier.

    Raises:
        UnknownNameError: No such network.
    """
    family, _, width = name.removesuffix("-keras").rpartition("-")
    suffix = "-keras" if name.endswith("-keras") else ""
    if name in _NETWORKS:
        build = _NETWORKS[name]
    elif f"{family}{suffix}" in _SCALED and re.fullmatch(r"\d+\.\d+", width):
        build = functools.partial(_SCALED[f"{family}{suffix}"], float(width))
    else:
        raise unknown_name("standard network", name, standard_network_names())
    builder = LayerBuilder(_BN_EPS)
    build(builder, Flow(NETWORK_INPUT, _IMAGE_CHANNELS, resolution), num_classes)
    return tuple(builder.layers)


def standard_network_names() -> tuple[str, ...]:
    """All names, scaled families at their published widths."""
    scaled = (
        f"{family.removesuffix('-keras')}-{width}{'-keras' if family.endswith('-keras') else ''}"
        for family, widths in _WIDTHS.items()
        for width in widths
    )
    return (*_NETWORKS, *scaled)


def _mbconv(
    build: LayerBuilder, name: str, flow: Flow, block: _Block, *, always_expand: bool = False
) -> Flow:
    block_input = flow
    if always_expand or block.middle != flow.channels:
        flow = build.conv(f"{name}.expand", flow, block.middle, 1, 1, block.activation)
    flow = build.depthwise(f"{name}.depthwise", flow, block.kernel_size, block.stride, block.activation)
    if block.squeeze:
        flow = build.squeeze_excite(
            f"{name}.se", flow, block.squeeze, activation=block.squeeze_activation, gate=block.gate
        )
    flow = build.conv(f"{name}.project", flow, block.width, 1, 1, None)
    if block.stride == 1 and block_input.channels == block.width:
        flow = build.join(f"{name}.add", "add", flow, block_input)
    return flow


def _classifier(build: LayerBuilder, flow: Flow, num_classes: int, *, is_conv: bool = False) -> None:
    if flow.size > 1:
        flow = build.pool("head.pool", "global_avg_pool", flow, flow.size, 1)
    if is_conv:
        build.conv("classifier", flow, num_classes, 1, 1, None, batch_norm=False, bias=True)
    else:
        build.linear("classifier", flow, num_classes)


_V1_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)


def _mobilenet_v1(width: float, build: LayerBuilder, flow: Flow, num_classes: int) -> None:
    """Howard et al. 2017, as in Keras: the classifier is a 1x1 convolution."""
    flow = build.conv("stem.conv", flow, int(32 * width), 3, 2, "relu6")
    for index, (channels, stride) in enumerate(_V1_BLOCKS):
        flow = build.depthwise(f"blocks.{index}.depthwise", flow, 3, stride, "relu6")
        flow = build.conv(f"blocks.{index}.project", flow, int(channels * width), 1, 1, "relu6")
    _classifier(build, flow, num_classes, is_conv=True)


_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _mobilenet_v2(width: float, build: LayerBuilder, flow: Flow, num_classes: int) -> None:
    """Sandler et al. 2018; torchvision `mobilenet_v2`, also at other widths."""
    flow = build.conv("stem.conv", flow, make_divisible(32 * width), 3, 2, "relu6")
    for stage, (ratio, channels, depth, stride) in enumerate(_V2_STAGES):
        for index in range(depth):
            block = _Block(
                width=make_divisible(channels * width),
                kernel_size=3,
                middle=flow.channels * ratio,
                stride=stride if index == 0 else 1,
                activation="relu6",
            )
            flow = _mbconv(build, f"stages.{stage}.{index}", flow, block)
    flow = build.conv("head.expand", flow, make_divisible(1280 * max(1.0, width)), 1, 1, "relu6")
    _classifier(build, flow, num_classes)


# Output channels, kernel size, middle channels, stride, squeeze-excite, activation.
_V3Row = tuple[int, int, int, int, bool, Activation]
_V3_LARGE: tuple[_V3Row, ...] = (
    (16, 3, 16, 1, False, "relu"),
    (24, 3, 64, 2, False, "relu"),
    (24, 3, 72, 1, False, "relu"),
    (40, 5, 72, 2, True, "relu"),
    (40, 5, 120, 1, True, "relu"),
    (40, 5, 120, 1, True, "relu"),
    (80, 3, 240, 2, False, "h_swish"),
    (80, 3, 200, 1, False, "h_swish"),
    (80, 3, 184, 1, False, "h_swish"),
    (80, 3, 184, 1, False, "h_swish"),
    (112, 3, 480, 1, True, "h_swish"),
    (112, 3, 672, 1, True, "h_swish"),
    (160, 5, 672, 2, True, "h_swish"),
    (160, 5, 960, 1, True, "h_swish"),
    (160, 5, 960, 1, True, "h_swish"),
)
_V3_SMALL: tuple[_V3Row, ...] = (
    (16, 3, 16, 2, True, "relu"),
    (24, 3, 72, 2, False, "relu"),
    (24, 3, 88, 1, False, "relu"),
    (40, 5, 96, 2, True, "h_swish"),
    (40, 5, 240, 1, True, "h_swish"),
    (40, 5, 240, 1, True, "h_swish"),
    (48, 5, 120, 1, True, "h_swish"),
    (48, 5, 144, 1, True, "h_swish"),
    (96, 5, 288, 2, True, "h_swish"),
    (96, 5, 576, 1, True, "h_swish"),
    (96, 5, 576, 1, True, "h_swish"),
)


def _mobilenet_v3(
    rows: Sequence[_V3Row], hidden: int, build: LayerBuilder, flow: Flow, num_classes: int
) -> None:
    """Howard et al. 2019; torchvision `mobilenet_v3_large` and `mobilenet_v3_small`."""
    flow = build.conv("stem.conv", flow, 16, 3, 2, "h_swish")
    for index, (channels, kernel_size, middle, stride, use_se, activation) in enumerate(rows):
        block = _Block(
            width=channels,
            kernel_size=kernel_size,
            middle=middle,
            stride=stride,
            activation=activation,
            squeeze=make_divisible(middle / 4) if use_se else 0,
        )
        flow = _mbconv(build, f"blocks.{index}", flow, block)
    flow = build.conv("head.expand", flow, flow.channels * 6, 1, 1, "h_swish")
    flow = build.pool("head.pool", "global_avg_pool", flow, flow.size, 1)
    flow = build.conv("head.mix", flow, hidden, 1, 1, "h_swish", batch_norm=False, bias=True)
    _classifier(build, flow, num_classes)


def _mobilenet_v3_keras(
    rows: Sequence[_V3Row], width: float, build: LayerBuilder, flow: Flow, num_classes: int
) -> None:
    """The measured Keras version: every block expands, squeeze-excite keeps its full width."""
    flow = build.conv("stem.conv", flow, 16, 3, 2, "h_swish")
    for index, (channels, kernel_size, middle, stride, use_se, activation) in enumerate(rows):
        block = _Block(
            width=int(width * channels),
            kernel_size=kernel_size,
            middle=middle,
            stride=stride,
            activation=activation,
            squeeze=middle if use_se else 0,
        )
        flow = _mbconv(build, f"blocks.{index}", flow, block, always_expand=True)
    flow = build.conv("head.expand", flow, 960 if rows is _V3_LARGE else 576, 1, 1, "h_swish")
    flow = build.pool("head.pool", "global_avg_pool", flow, flow.size, 1)
    flow = build.conv("head.mix", flow, 1280, 1, 1, "h_swish", batch_norm=False, bias=True)
    _classifier(build, flow, num_classes, is_conv=True)


# Expand ratio, kernel size, output channels, depth, stride.
_MNAS_STAGES = (
    (3, 3, 24, 3, 2),
    (3, 5, 40, 3, 2),
    (6, 5, 80, 3, 2),
    (6, 3, 96, 2, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


def _mnasnet(
    head_width: Callable[[float], int],
    activation: Activation,
    width: float,
    build: LayerBuilder,
    flow: Flow,
    num_classes: int,
) -> None:
    """Tan et al. 2019 (MnasNet-B1); torchvision `mnasnet1_0` with a head of 1280 channels."""
    flow = build.conv("stem.conv", flow, make_divisible(32 * width), 3, 2, activation)
    flow = build.depthwise("stem.block.depthwise", flow, 3, 1, activation)
    flow = build.conv("stem.block.project", flow, make_divisible(16 * width), 1, 1, None)
    for stage, (ratio, kernel_size, channels, depth, stride) in enumerate(_MNAS_STAGES):
        for index in range(depth):
            block = _Block(
                width=make_divisible(channels * width),
                kernel_size=kernel_size,
                middle=flow.channels * ratio,
                stride=stride if index == 0 else 1,
                activation=activation,
            )
            flow = _mbconv(build, f"stages.{stage}.{index}", flow, block)
    flow = build.conv("head.expand", flow, head_width(width), 1, 1, activation)
    _classifier(build, flow, num_classes)


# Expand ratio, kernel size, stride, output channels, depth.
_EFFICIENTNET_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def _efficientnet(width: float, depth: float, build: LayerBuilder, flow: Flow, num_classes: int) -> None:
    """Tan and Le 2019; torchvision `efficientnet_b0` to `efficientnet_b7`."""
    flow = build.conv("stem.conv", flow, make_divisible(32 * width), 3, 2, "swish")
    for stage, (ratio, kernel_size, stride, channels, repeats) in enumerate(_EFFICIENTNET_STAGES):
        for index in range(math.ceil(repeats * depth)):
            block = _Block(
                width=make_divisible(channels * width),
                kernel_size=kernel_size,
                middle=flow.channels * ratio,
                stride=stride if index == 0 else 1,
                activation="swish",
                squeeze=max(1, flow.channels // 4),
                gate="sigmoid",
                squeeze_activation="swish",
            )
            flow = _mbconv(build, f"stages.{stage}.{index}", flow, block)
    flow = build.conv("head.expand", flow, 4 * make_divisible(320 * width), 1, 1, "swish")
    _classifier(build, flow, num_classes)


def _resnet(
    depths: Sequence[int], is_bottleneck: bool, build: LayerBuilder, flow: Flow, num_classes: int
) -> None:
    """He et al. 2016 with the stride in the 3x3 convolution; torchvision `resnet18` to `resnet152`."""
    flow = build.conv("stem.conv", flow, 64, 7, 2, "relu")
    flow = build.pool("stem.pool", "max_pool", flow, 3, 2)
    for stage, depth in enumerate(depths):
        middle = 64 << stage
        width = middle * 4 if is_bottleneck else middle
        for index in range(depth):
            name, shortcut = f"stages.{stage}.{index}", flow
            stride = 2 if stage and index == 0 else 1
            if is_bottleneck:
                flow = build.conv(f"{name}.conv1", flow, middle, 1, 1, "relu")
                flow = build.conv(f"{name}.conv2", flow, middle, 3, stride, "relu")
                flow = build.conv(f"{name}.conv3", flow, width, 1, 1, None)
            else:
                flow = build.conv(f"{name}.conv1", flow, middle, 3, stride, "relu")
                flow = build.conv(f"{name}.conv2", flow, middle, 3, 1, None)
            if stride > 1 or shortcut.channels != width:
                shortcut = build.conv(f"{name}.downsample", shortcut, width, 1, stride, None)
            flow = build.join(f"{name}.add", "add", flow, shortcut, "relu")
    _classifier(build, flow, num_classes)


_Build = Callable[[LayerBuilder, Flow, int], None]

_EFFICIENTNET_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6))

_NETWORKS: dict[str, _Build] = {
    "mobilenet-v3-large": functools.partial(_mobilenet_v3, _V3_LARGE, 1280),
    "mobilenet-v3-small": functools.partial(_mobilenet_v3, _V3_SMALL, 1024),
    **{
        f"efficientnet-b{index}": functools.partial(_efficientnet, *scales)
        for index, scales in enumerate(_EFFICIENTNET_SCALES)
    },
    "resnet-18": functools.partial(_resnet, (2, 2, 2, 2), False),
    "resnet-34": functools.partial(_resnet, (3, 4, 6, 3), False),
    "resnet-50": functools.partial(_resnet, (3, 4, 6, 3), True),
    "resnet-101": functools.partial(_resnet, (3, 4, 23, 3), True),
    "resnet-152": functools.partial(_resnet, (3, 8, 36, 3), True),
}
"""Networks of one size."""

_SCALED: dict[str, Callable[[float, LayerBuilder, Flow, int], None]] = {
    "mobilenet-v1": _mobilenet_v1,
    "mobilenet-v2": _mobilenet_v2,
    "mobilenet-v3-large-keras": functools.partial(_mobilenet_v3_keras, _V3_LARGE),
    "mobilenet-v3-small-keras": functools.partial(_mobilenet_v3_keras, _V3_SMALL),
    "mnasnet": functools.partial(_mnasnet, lambda _: 1280, "relu"),
    "mnasnet-keras": functools.partial(_mnasnet, lambda width: make_divisible(1152 * width), "relu6"),
}
"""Families with a width multiplier."""

_WIDTHS: dict[str, tuple[float, ...]] = {
    "mobilenet-v1": (0.25, 0.5, 0.75, 1.0),
    "mobilenet-v2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    "mobilenet-v3-large-keras": (0.75, 1.0, 1.25, 1.5),
    "mobilenet-v3-small-keras": (0.75, 1.0, 1.25, 1.5),
    "mnasnet": (0.5, 0.75, 1.0, 1.3),
    "mnasnet-keras": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
}

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ofa_toolkit.core.errors import ConfigError, unknown_name
from ofa_toolkit.spaces import efficientnet, mnasnet, mobilenet_v2
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, Activation, LayerSpec
from ofa_toolkit.spaces.mobilenet_v3 import LARGE_ROWS, SMALL_ROWS
from ofa_toolkit.spaces.mobilenet_v3 import Row as V3Row
from ofa_toolkit.spaces.rounding import make_divisible
from ofa_toolkit.spaces.space_rules import too_few

_BN_EPS = 1e-5
_IMAGE_CHANNELS = 3


_Build = Callable[[LayerBuilder, Flow, int], None]


def standard_network(name: str, resolution: int, num_classes: int = 1000) -> tuple[LayerSpec, ...]:
    """Layers of a standard network in execution order.

    Args:
        name: One of `standard_network_names()`; families with a width multiplier take it as the last
            part, as in `mobilenet-v2-1.4`.
        resolution: Side of the square image in pixels.
        num_classes: Outputs of the classifier.

    Raises:
        UnknownNameError: No such network.
        ConfigError: The image is too small for it.
    """
    family, _, width = name.removesuffix("-keras").rpartition("-")
    suffix = "-keras" if name.endswith("-keras") else ""
    if name in _NETWORKS:
        build = _NETWORKS[name]
    elif f"{family}{suffix}" in _SCALED and re.fullmatch(r"\d+\.\d+", width):
        build = _SCALED[f"{family}{suffix}"](float(width))
    else:
        raise unknown_name("standard network", name, standard_network_names())
    builder = LayerBuilder(_BN_EPS)
    build(builder, Flow(NETWORK_INPUT, _IMAGE_CHANNELS, resolution), num_classes)
    if any(layer.stride > 1 and layer.in_size == 1 for layer in builder.layers):
        raise ConfigError(too_few(resolution, name))
    return tuple(builder.layers)


def standard_network_names() -> tuple[str, ...]:
    """All names, scaled families at their published widths."""
    scaled = (
        f"{family.removesuffix('-keras')}-{width}{'-keras' if family.endswith('-keras') else ''}"
        for family, widths in _WIDTHS.items()
        for width in widths
    )
    return (*_NETWORKS, *scaled)


def _classifier(build: LayerBuilder, flow: Flow, num_classes: int, *, is_conv: bool = False) -> None:
    """Classifier with bias; TensorFlow's MobileNets have it as a 1x1 convolution."""
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


@dataclass(frozen=True, kw_only=True)
class _Block:
    """One MBConv block: `squeeze` is the hidden width of its squeeze-excite branch, 0 for none."""

    width: int
    kernel_size: int
    middle: int
    stride: int
    activation: Activation
    squeeze: int = 0


@dataclass(frozen=True, kw_only=True)
class _Network:
    """A stem, MBConv blocks and a head; `mix` is the width of the layer between pool and classifier."""

    stem: int
    activation: Activation
    blocks: tuple[_Block, ...]
    head: int
    mix: int | None = None
    gate: Activation = "h_sigmoid"
    squeeze_activation: Activation = "relu"
    is_keras: bool = False

    def __call__(self, build: LayerBuilder, flow: Flow, num_classes: int) -> None:
        flow = build.conv("stem.conv", flow, self.stem, 3, 2, self.activation)
        for index, block in enumerate(self.blocks):
            flow = self._mbconv(build, f"blocks.{index}", flow, block)
        flow = build.conv("head.expand", flow, self.head, 1, 1, self.activation)
        if self.mix is not None:
            flow = build.pool("head.pool", "global_avg_pool", flow, flow.size, 1)
            flow = build.conv("head.mix", flow, self.mix, 1, 1, self.activation, batch_norm=False, bias=True)
        _classifier(build, flow, num_classes, is_conv=self.is_keras)

    def _mbconv(self, build: LayerBuilder, name: str, flow: Flow, block: _Block) -> Flow:
        block_input = flow
        # Keras' networks expand where the middle is as wide as the input, too.
        if self.is_keras or block.middle != flow.channels:
            flow = build.conv(f"{name}.expand", flow, block.middle, 1, 1, block.activation)
        flow = build.depthwise(f"{name}.depthwise", flow, block.kernel_size, block.stride, block.activation)
        if block.squeeze:
            flow = build.squeeze_excite(
                f"{name}.se", flow, block.squeeze, activation=self.squeeze_activation, gate=self.gate
            )
        flow = build.conv(f"{name}.project", flow, block.width, 1, 1, None)
        if block.stride == 1 and block_input.channels == block.width:
            flow = build.join(f"{name}.add", "add", flow, block_input)
        return flow


# Expand ratio, kernel size, output channels, depth, stride; the first block is not among a space's stages.
_Row = tuple[int, int, int, int, int]
_FIRST: _Row = (1, 3, 16, 1, 1)


def _scaled_blocks(
    rows: Iterable[_Row],
    width: float,
    activation: Activation,
    *,
    depth: float = 1.0,
    has_squeeze: bool = False,
) -> Iterator[_Block]:
    before = make_divisible(32 * width)
    for ratio, kernel_size, channels, repeats, stride in (_FIRST, *rows):
        for index in range(math.ceil(repeats * depth)):
            wide = make_divisible(channels * width)
            yield _Block(
                width=wide,
                kernel_size=kernel_size,
                middle=before * ratio,
                stride=stride if index == 0 else 1,
                activation=activation,
                squeeze=max(1, before // 4) if has_squeeze else 0,
            )
            before = wide


def _mobilenet_v2(width: float) -> _Build:
    rows = ((6, 3, channels, depth, stride) for channels, depth, stride in mobilenet_v2.STAGES)
    return _Network(
        stem=make_divisible(32 * width),
        activation="relu6",
        blocks=tuple(_scaled_blocks(rows, width, "relu6")),
        head=make_divisible(1280 * max(1.0, width)),
    )


def _mnasnet(head: int, activation: Activation, width: float) -> _Build:
    return _Network(
        stem=make_divisible(32 * width),
        activation=activation,
        blocks=tuple(_scaled_blocks(mnasnet.STAGES, width, activation)),
        head=head,
    )


def _efficientnet(width: float, depth: float) -> _Build:
    rows = (
        (6, kernel, channels, repeats, stride) for channels, repeats, kernel, stride in efficientnet.STAGES
    )
    return _Network(
        stem=make_divisible(32 * width),
        activation="swish",
        blocks=tuple(_scaled_blocks(rows, width, "swish", depth=depth, has_squeeze=True)),
        head=4 * make_divisible(320 * width),
        gate="sigmoid",
        squeeze_activation="swish",
    )


def _mobilenet_v3(rows: Sequence[V3Row], mix: int, width: float = 1.0, *, is_keras: bool) -> _Build:
    is_small = rows is SMALL_ROWS
    first: V3Row = (16, 3, 2 if is_small else 1, is_small, "relu", (16,))
    return _Network(
        stem=16,
        activation="h_swish",
        blocks=tuple(
            _Block(
                width=int(width * channels),
                kernel_size=kernel_size,
                middle=middle,
                stride=stride if index == 0 else 1,
                activation=activation,
                squeeze=0 if not use_se else middle if is_keras else make_divisible(middle / 4),
            )
            for channels, kernel_size, stride, use_se, activation, middles in (first, *rows)
            for index, middle in enumerate(middles)
        ),
        head=6 * rows[-1][0],
        mix=mix,
        is_keras=is_keras,
    )


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


_EFFICIENTNET_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6))

_NETWORKS: dict[str, _Build] = {
    "mobilenet-v3-large": _mobilenet_v3(LARGE_ROWS, 1280, is_keras=False),
    "mobilenet-v3-small": _mobilenet_v3(SMALL_ROWS, 1024, is_keras=False),
    **{f"efficientnet-b{index}": _efficientnet(*scales) for index, scales in enumerate(_EFFICIENTNET_SCALES)},
    "resnet-18": functools.partial(_resnet, (2, 2, 2, 2), False),
    "resnet-34": functools.partial(_resnet, (3, 4, 6, 3), False),
    "resnet-50": functools.partial(_resnet, (3, 4, 6, 3), True),
    "resnet-101": functools.partial(_resnet, (3, 4, 23, 3), True),
    "resnet-152": functools.partial(_resnet, (3, 8, 36, 3), True),
}

_SCALED: dict[str, Callable[[float], _Build]] = {
    "mobilenet-v1": lambda width: functools.partial(_mobilenet_v1, width),
    "mobilenet-v2": _mobilenet_v2,
    "mobilenet-v3-large-keras": functools.partial(_mobilenet_v3, LARGE_ROWS, 1280, is_keras=True),
    "mobilenet-v3-small-keras": functools.partial(_mobilenet_v3, SMALL_ROWS, 1280, is_keras=True),
    "mnasnet": functools.partial(_mnasnet, 1280, "relu"),
    "mnasnet-keras": lambda width: _mnasnet(make_divisible(1152 * width), "relu6", width),
}

_WIDTHS: dict[str, tuple[float, ...]] = {
    "mobilenet-v1": (0.25, 0.5, 0.75, 1.0),
    "mobilenet-v2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    "mobilenet-v3-large-keras": (0.75, 1.0, 1.25, 1.5),
    "mobilenet-v3-small-keras": (0.75, 1.0, 1.25, 1.5),
    "mnasnet": (0.5, 0.75, 1.0, 1.3),
    "mnasnet-keras": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
}

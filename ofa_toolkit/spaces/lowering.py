"""From a subnet to its layers: the one place that knows how a space's networks are built."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, LayerSpec
from ofa_toolkit.spaces.rounding import middle_channels, squeeze_channels
from ofa_toolkit.spaces.space import SearchSpace, Stage
from ofa_toolkit.spaces.subnet import Subnet

IMAGE_CHANNELS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockChoice:
    """Everything that decides the layers of one block, beside what flows into it."""

    stage: int
    block: int
    width: int
    kernel_size: int
    expand_ratio: float

    @property
    def prefix(self) -> str:
        """Start of the names of the block's layers."""
        return f"stages.{self.stage}.{self.block}"


def lower(space: SearchSpace, subnet: Subnet) -> tuple[LayerSpec, ...]:
    """The layers of a subnet in execution order, each naming its inputs; at any resolution.

    Results are cached.

    Raises:
        SubnetNotInSpaceError: The subnet holds a choice the space does not offer, or an input too small.
    """
    space.check_architecture(subnet)
    space.check_size(subnet.resolution)
    return _lower_cached(space, subnet)


def lower_unchecked(space: SearchSpace, subnet: Subnet) -> tuple[LayerSpec, ...]:
    """As `lower` for any subnet of the space's shape, also one whose choices it does not offer together."""
    layers, flow = lower_stem(space, subnet.resolution)
    for index, (stage, choice) in enumerate(zip(space.stages, subnet.stages, strict=True)):
        for block in range(choice.depth):
            added, flow = lower_block(
                space,
                BlockChoice(
                    stage=index,
                    block=block,
                    width=choice.width or stage.widths[0],
                    kernel_size=choice.kernel_sizes[block],
                    expand_ratio=choice.expand_ratios[block],
                ),
                flow,
            )
            layers += added
        added, flow = lower_stage_end(stage, index, flow)
        layers += added
    layers += lower_head(space, flow)
    return tuple(layers)


def lower_stem(space: SearchSpace, resolution: int) -> tuple[list[LayerSpec], Flow]:
    """The fixed start; nothing where the first stage reads the image."""
    flow = Flow(NETWORK_INPUT, IMAGE_CHANNELS, resolution)
    if space.stem is None:
        return [], flow
    stem, build = space.stem, LayerBuilder(space.bn_eps, space.padding)
    flow = build.conv("stem.conv", flow, stem.width, 3, stem.stride, stem.activation)
    block_input = flow
    flow = build.depthwise("stem.block.depthwise", flow, 3, stem.block_stride, stem.block_activation)
    if stem.block_use_se:
        flow = _squeeze_excite(build, space, "stem.block.se", flow, block_input)
    flow = build.conv("stem.block.project", flow, stem.block_width, 1, 1, None)
    if stem.block_shortcut:
        flow = build.join("stem.block.add", "add", flow, block_input)
    return build.layers, flow


def lower_block(space: SearchSpace, choice: BlockChoice, flow: Flow) -> tuple[list[LayerSpec], Flow]:
    """The layers of one block fed by `flow`."""
    stage = space.stages[choice.stage]
    stride = stage.stride if choice.block == 0 else 1
    build = LayerBuilder(space.bn_eps, space.padding)
    if stage.block == "bottleneck":
        has_projection = choice.block == 0 and _changes_shape(space, choice.stage)
        return build.layers, _bottleneck(build, stage, choice, flow, stride, has_projection=has_projection)
    if stage.block == "mbconv":
        return build.layers, _mbconv(build, space, choice, flow, stride)
    return build.layers, _resnet_stem(build, stage, choice, flow, stride)


def _changes_shape(space: SearchSpace, index: int) -> bool:
    """Whether a stage may make maps smaller or wider, whatever is chosen; then its shortcut is projected."""
    stage, before = space.stages[index], space.stages[index - 1] if index else None
    return stage.stride > 1 or stage.has_elastic_width or before is None or before.widths != stage.widths


def lower_stage_end(stage: Stage, index: int, flow: Flow) -> tuple[list[LayerSpec], Flow]:
    """The max pool some stages end with."""
    if not stage.max_pool:
        return [], flow
    build = LayerBuilder(0.0)
    return build.layers, build.pool(f"stages.{index}.pool", "max_pool", flow, 3, 2)


def lower_head(space: SearchSpace, flow: Flow) -> list[LayerSpec]:
    """The fixed end and the classifier."""
    head, build = space.head, LayerBuilder(space.bn_eps, space.padding)
    if head.expand_width is not None:
        flow = build.conv("head.expand", flow, head.expand_width, 1, 1, head.activation)
    flow = build.pool("head.pool", "global_avg_pool", flow, flow.size, 1)
    if head.mix_width is not None:
        flow = build.conv(
            "head.mix", flow, head.mix_width, 1, 1, head.activation, batch_norm=False, bias=head.mix_bias
        )
    build.linear("classifier", flow, space.num_classes)
    return build.layers


def _mbconv(build: LayerBuilder, space: SearchSpace, choice: BlockChoice, flow: Flow, stride: int) -> Flow:
    """Inverted residual: 1x1 expand, depthwise, squeeze-excite, 1x1 project, identity shortcut."""
    name, stage, block_input = choice.prefix, space.stages[choice.stage], flow
    middle = middle_channels(flow.channels, choice.expand_ratio * stage.expand_scale(choice.block))
    flow = build.conv(f"{name}.expand", flow, middle, 1, 1, stage.activation)
    flow = build.depthwise(f"{name}.depthwise", flow, choice.kernel_size, stride, stage.activation)
    if stage.use_se:
        flow = _squeeze_excite(build, space, f"{name}.se", flow, block_input)
    flow = build.conv(f"{name}.project", flow, choice.width, 1, 1, None)
    if stride == 1 and block_input.channels == choice.width:
        flow = build.join(f"{name}.add", "add", flow, block_input)
    return flow


def _squeeze_excite(
    build: LayerBuilder, space: SearchSpace, name: str, flow: Flow, block_input: Flow
) -> Flow:
    """A branch over `flow` as the space has them."""
    kind = space.squeeze_excite
    hidden = (
        squeeze_channels(flow.channels) if kind.reduces == "middle" else max(1, block_input.channels // 4)
    )
    return build.squeeze_excite(name, flow, hidden, activation=kind.activation, gate=kind.gate)


def _bottleneck(
    build: LayerBuilder,
    stage: Stage,
    choice: BlockChoice,
    flow: Flow,
    stride: int,
    *,
    has_projection: bool,
) -> Flow:
    """ResNet-D bottleneck; where the shape changes, the shortcut is projected after an average pool."""
    name, shortcut = choice.prefix, flow
    middle = middle_channels(choice.width, choice.expand_ratio)
    flow = build.conv(f"{name}.conv1", flow, middle, 1, 1, stage.activation)
    flow = build.conv(f"{name}.conv2", flow, middle, choice.kernel_size, stride, stage.activation)
    flow = build.conv(f"{name}.conv3", flow, choice.width, 1, 1, None)
    if has_projection:
        if stride > 1:
            shortcut = build.pool(
                f"{name}.downsample_pool", "avg_pool", shortcut, stride, stride, ceil_mode=True
            )
        shortcut = build.conv(f"{name}.downsample", shortcut, choice.width, 1, 1, None)
    return build.join(f"{name}.add", "add", flow, shortcut, stage.activation)


def _resnet_stem(build: LayerBuilder, stage: Stage, choice: BlockChoice, flow: Flow, stride: int) -> Flow:
    """A 3x3 convolution; later blocks of the stage are residual."""
    name, block_input = choice.prefix, flow
    flow = build.conv(f"{name}.conv", flow, choice.width, choice.kernel_size, stride, stage.activation)
    if choice.block > 0:
        flow = build.join(f"{name}.add", "add", flow, block_input)
    return flow


_lower_cached = functools.lru_cache(maxsize=1024)(lower_unchecked)

"""One network as a search space with a single member, and as a member of a larger space.

A published network is described layer by layer (`net.config`). As a space each of its blocks is a stage
without any choice, so all that works with supernets works with it; whether it is also a subnet of a larger
space is decided by its layers, not by names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from ofa_toolkit.core.errors import ConfigError, FileFormatError
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower, lower_unchecked
from ofa_toolkit.spaces.network_config import Config, activation_of, blocks_of, layers_from_config
from ofa_toolkit.spaces.rounding import middle_channels
from ofa_toolkit.spaces.space import BlockKind, Head, SearchSpace, Stage, Stem
from ofa_toolkit.spaces.subnet import StageChoice, Subnet

NAME = "single-network"


def single_network_space(config: Config, resolution: int) -> SearchSpace:
    """The space whose only member is the network of a `net.config`.

    Args:
        config: The parsed file.
        resolution: Side of the network's input in pixels.

    Raises:
        FileFormatError: The file is malformed, or has a layer that no block of ours stands for.
    """
    wanted = layers_from_config(config, resolution=resolution)
    try:
        space = SearchSpace(
            name=NAME,
            source=f"a net.config of {config['name']}",
            stem=_stem(config),
            stages=tuple(_resnet_stages(config) if config["name"] == "ResNets" else _mbconv_stages(config)),
            head=_head(config),
            resolutions=(resolution,),
            num_classes=wanted[-1].out_channels,
            bn_eps=next(layer.bn_eps for layer in wanted if layer.batch_norm),
        )
    except (ConfigError, LookupError, TypeError, StopIteration) as error:
        raise FileFormatError(f"The net.config describes no network of these blocks: {error}.") from error
    found = lower(space, space.largest())
    if anonymous(found) != anonymous(wanted):
        raise FileFormatError(
            f"The net.config describes no network of these blocks: {_difference(found, wanted)}.",
            hint="In Python, network_from_config builds and runs it as it is.",
        )
    return space


def member_of(space: SearchSpace, network: SearchSpace) -> Subnet | None:
    """The subnet of a space that a single network is, at the network's resolution; None where it is none.

    Epsilons of batch norm and numbers of classes do not matter.

    Args:
        space: The search space to look in.
        network: From `single_network_space`, or any space with one member.
    """
    only = network.largest()
    blocks = [(stage, block) for stage, choice in zip(network.stages, only.stages, strict=True)
              for block in range(choice.depth)]  # fmt: skip
    stages: list[StageChoice] = []
    for stage in space.stages:
        taken: list[Stage] = []
        while blocks and len(taken) < stage.max_depth and _continues(stage, taken, *blocks[0]):
            taken.append(blocks.pop(0)[0])
        if not taken:
            return None
        stages.append(
            StageChoice(
                depth=len(taken),
                kernel_sizes=tuple(each.kernel_sizes[0] for each in taken),
                expand_ratios=tuple(each.expand_ratios[0] for each in taken),
                width=taken[0].widths[0] if stage.has_elastic_width else None,
            )
        )
    subnet = Subnet(only.resolution, tuple(stages))
    if blocks or not _offers(space, subnet):
        return None
    own = dataclasses.replace(space, num_classes=network.num_classes, bn_eps=network.bn_eps)
    same = anonymous(lower_unchecked(own, subnet)) == anonymous(lower(network, only))
    return subnet if same else None


def find_space(network: SearchSpace, spaces: Iterable[SearchSpace]) -> tuple[SearchSpace, Subnet] | None:
    """The first of some spaces that a single network is a member of, with as many classes, and its subnet."""
    for space in spaces:
        subnet = member_of(space, network)
        if subnet is not None:
            return space.with_num_classes(network.num_classes), subnet
    return None


def anonymous(layers: Sequence[LayerSpec]) -> list[LayerSpec]:
    """The layers with numbers in place of names, to compare what is computed."""
    numbers = {layer.name: str(index) for index, layer in enumerate(layers)}
    return [
        dataclasses.replace(
            layer,
            name=numbers[layer.name],
            inputs=tuple(numbers.get(source, source) for source in layer.inputs),
        )
        for layer in layers
    ]


def _continues(stage: Stage, taken: list[Stage], block: Stage, index: int) -> bool:
    """Whether a block may be the next one of a stage."""
    stride = block.stride if index == 0 else 1
    return (
        block.block == stage.block
        and block.widths[0] in stage.widths
        and (not taken or block.widths == taken[0].widths)
        and stride == (1 if taken else stage.stride)
    )


def _offers(space: SearchSpace, subnet: Subnet) -> bool:
    at_home = dataclasses.replace(subnet, resolution=max(space.resolutions))
    return at_home in space


def _stem(config: Config) -> Stem | None:
    if config["name"] == "ResNets":
        return None
    first, block = config["first_conv"], blocks_of(config)[0]
    return Stem(
        width=first["out_channels"],
        stride=first["stride"],
        activation=_activation(first),
        block_width=block["out_channels"],
        block_activation=_activation(block),
        block_shortcut=config["blocks"][0].get("shortcut") is not None,
    )


def _head(config: Config) -> Head:
    if config["name"] == "ResNets":
        return Head()
    mix = config["feature_mix_layer"]
    if config["name"] == "MobileNetV3":
        expand = config["final_expand_layer"]
        return Head(
            expand_width=expand["out_channels"], mix_width=mix["out_channels"], activation=_activation(mix)
        )
    return Head() if mix is None else Head(expand_width=mix["out_channels"], activation=_activation(mix))


def _mbconv_stages(config: Config) -> Iterable[Stage]:
    for conv in blocks_of(config)[1:]:
        yield _stage("mbconv", conv, use_se=bool(conv.get("use_se", False)), of=conv["in_channels"])


def _resnet_stages(config: Config) -> Iterable[Stage]:
    stem: list[Stage] = []
    for layer in config["input_stem"]:
        conv = layer.get("conv", layer)
        if layer.get("shortcut") is not None and stem:
            stem[-1] = dataclasses.replace(stem[-1], depths=(stem[-1].max_depth + 1,))
        else:
            stem.append(_stage("resnet_stem", {**conv, "expand_ratio": 1}, of=1))
    yield from stem[:-1]
    yield dataclasses.replace(stem[-1], max_pool=True)
    for block in blocks_of(config):
        yield _stage("bottleneck", block, of=block["out_channels"])


def _stage(kind: BlockKind, conv: Config, *, of: int, use_se: bool = False) -> Stage:
    """A stage of one block; `of` are the channels that its expand ratio is of."""
    ratio, middle = conv["expand_ratio"], conv.get("mid_channels")
    if middle and middle_channels(of, ratio) != middle:
        ratio = middle / of
    return Stage(
        block=kind,
        widths=(conv["out_channels"],),
        stride=conv["stride"],
        activation=_activation(conv),
        use_se=use_se,
        depths=(1,),
        kernel_sizes=(conv["kernel_size"],),
        expand_ratios=(ratio,),
    )


def _activation(layer: Config) -> Any:
    return activation_of(layer.get("act_func", "relu6"))


def _difference(found: Sequence[LayerSpec], wanted: Sequence[LayerSpec]) -> str:
    for own, other, layer in zip(anonymous(found), anonymous(wanted), wanted, strict=False):
        if own != other:
            return f"'{layer.name}' is another layer"
    return f"it has {len(wanted)} layers, not {len(found)}"

"""Names of the once-for-all repositories' checkpoints, for each name of ours.

Supernets double the names of elastic layers (`...conv.conv.weight`, `...bn.bn.weight`); extracted networks
and static layers have single names and number only the active blocks. Older files say
`mobile_inverted_conv` for a block's `conv`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.space import SearchSpace

_MBCONV_PARTS = {"expand": "inverted_bottleneck", "depthwise": "depth_conv", "project": "point_linear"}
_BN_PARTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def official_names(space: SearchSpace, layers: Iterable[LayerSpec], *, elastic: bool) -> dict[str, str]:
    """Our tensor names to the official ones.

    Args:
        space: The space of the network.
        layers: Layers of the network; the largest subnet's for a supernet.
        elastic: Whether names of elastic layers are doubled, and blocks numbered with gaps for skipped
            ones (a supernet), or not (an extracted network).
    """
    layers = [layer for layer in layers if layer.has_weights]
    blocks = _block_numbers(space, layers, elastic=elastic)
    names: dict[str, str] = {}
    for layer in layers:
        prefix, is_elastic = _official_layer(space, layer, blocks)
        doubled = elastic and is_elastic
        part = "linear" if layer.kind == "linear" else "conv"
        is_se = ".se." in layer.name
        weighted = prefix if is_se else f"{prefix}.{part}.{part}" if doubled else f"{prefix}.{part}"
        names[f"{layer.name}.{part}.weight"] = f"{weighted}.weight"
        if layer.bias:
            names[f"{layer.name}.{part}.bias"] = f"{weighted}.bias"
        if layer.batch_norm:
            norm = f"{prefix}.bn.bn" if doubled else f"{prefix}.bn"
            names |= {f"{layer.name}.bn.{p}": f"{norm}.{p}" for p in _BN_PARTS}
        if doubled and layer.is_depthwise:
            sizes = space.stages[int(layer.name.split(".")[1])].kernel_sizes
            for smaller, larger in itertools.pairwise(sizes):
                names[f"{layer.name}.conv.matrix_{larger}to{smaller}"] = (
                    f"{prefix}.conv.{larger}to{smaller}_matrix"
                )
    return names


def modern_name(name: str) -> str:
    """An official name in today's spelling, without a data-parallel wrapper's prefix."""
    return name.removeprefix("module.").replace(".mobile_inverted_conv.", ".conv.")


def _official_layer(space: SearchSpace, layer: LayerSpec, blocks: dict[str, int]) -> tuple[str, bool]:
    """Prefix of a layer's official names, and whether the official supernet holds it elastic."""
    is_resnet = space.stem is None
    if not layer.name.startswith("stages."):
        feature = "final_expand_layer" if space.head.mix_width is not None else "feature_mix_layer"
        fixed = {
            "stem.conv": "first_conv",
            "stem.block.depthwise": "blocks.0.conv.depth_conv",
            "stem.block.project": "blocks.0.conv.point_linear",
            "head.expand": feature,
            "head.mix": "feature_mix_layer",
            "classifier": "classifier",
        }
        return fixed[layer.name], is_resnet
    _, stage, block, *rest = layer.name.split(".")
    number = blocks[f"{stage}.{block}"]
    kind = space.stages[int(stage)].block
    if kind == "resnet_stem":
        residual = ".conv" if int(block) > 0 else ""
        return f"input_stem.{number}{residual}", True
    if kind == "bottleneck":
        return f"blocks.{number}.{rest[0]}", True
    if rest[0] == "se":
        return f"blocks.{number}.conv.depth_conv.se.fc.{rest[1]}", True
    return f"blocks.{number}.conv.{_MBCONV_PARTS[rest[0]]}", True


def _block_numbers(space: SearchSpace, layers: list[LayerSpec], *, elastic: bool) -> dict[str, int]:
    """Official index of each `stage.block`; the MobileNets' fixed block is 0, stems count on their own."""
    present = dict.fromkeys(
        tuple(map(int, layer.name.split(".")[1:3])) for layer in layers if layer.name.startswith("stages.")
    )
    numbers: dict[str, int] = {}
    counts = {"stem": 0, "body": 0 if space.stem is None else 1}
    for index, stage in enumerate(space.stages):
        counter = "stem" if stage.block == "resnet_stem" else "body"
        for block in range(stage.max_depth):
            if (index, block) in present:
                numbers[f"{index}.{block}"] = counts[counter]
            elif not elastic:
                continue
            counts[counter] += 1
    return numbers

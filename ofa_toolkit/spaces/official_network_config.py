"""The `net.config` files of the once-for-all repositories, read back as architecture dictionaries.

Such a file describes one extracted MBConv network layer by layer; it holds no resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.spaces.space import SearchSpace

Shape = tuple[tuple[int, int], ...]
"""Width and stride of each stage."""

_CONV_KEYS = ("conv", "mobile_inverted_conv")  # files from before 2020 carry the second


def architecture_from_network_config(
    document: Mapping[str, Any], space: SearchSpace | None = None
) -> tuple[SearchSpace, dict[str, Any]]:
    """The space and the official architecture dictionary of a `net.config`.

    Args:
        document: The parsed file.
        space: The space it belongs to; None finds the registered one with the same stages.

    Raises:
        FileFormatError: The file describes no MBConv network, or fits no registered space.
        MismatchError: Its widths or strides are not those of `space`.
    """
    try:
        blocks = [_conv(block) for block in document["blocks"]]
        # The first block is the fixed one of the stem; a new stage starts where the width changes.
        stages: list[list[Mapping[str, Any]]] = []
        for block in blocks[1:]:
            if not stages or stages[-1][-1]["out_channels"] != block["out_channels"]:
                stages.append([])
            stages[-1].append(block)
        shape = tuple((int(stage[0]["out_channels"]), int(stage[0]["stride"])) for stage in stages)
        space = _check(space, shape) if space is not None else _find(shape)
        architecture: dict[str, Any] = {"ks": [], "e": [], "d": [len(stage) for stage in stages]}
        for stage, offered in zip(stages, space.stages, strict=True):
            padding = [0] * (offered.max_depth - len(stage))
            architecture["ks"] += [int(block["kernel_size"]) for block in stage] + padding
            architecture["e"] += [_ratio(block["expand_ratio"]) for block in stage] + padding
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"The net.config is malformed: {error!r}.") from error
    return space, architecture


def _conv(block: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in _CONV_KEYS:
        conv = block.get(key)
        if isinstance(conv, Mapping) and conv.get("name") in ("MBConvLayer", "MBInvertedConvLayer"):
            return conv
    raise FileFormatError("The net.config holds blocks that are not MBConv.")


def _ratio(value: float) -> float:
    return int(value) if float(value).is_integer() else float(value)


def _shape(space: SearchSpace) -> Shape:
    return tuple((stage.widths[0], stage.stride) for stage in space.stages)


def _check(space: SearchSpace, shape: Shape) -> SearchSpace:
    if _shape(space) != shape:
        raise MismatchError(
            f"The net.config has stages of {_described(shape)}; "
            f"'{space.name}' has {_described(_shape(space))}."
        )
    return space


def _find(shape: Shape) -> SearchSpace:
    from ofa_toolkit.spaces import SPACES

    for space in SPACES.values():
        if space.stem is not None and _shape(space) == shape:
            return space
    raise FileFormatError(f"No registered space has the stages of the net.config: {_described(shape)}.")


def _described(shape: Shape) -> str:
    return ", ".join(f"width {width} stride {stride}" for width, stride in shape)

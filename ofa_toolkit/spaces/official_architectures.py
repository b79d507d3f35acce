"""The architecture dictionaries of the once-for-all repositories (`ks`, `e`, `d`, `w`, `r`).

Lists hold one entry per block the supernet has, those of skipped blocks included; a scalar stands for all.
For ResNet-50, `d[0]` keeps the stem's residual convolution when at its maximum (2), `d[1:]` count blocks
beyond each stage's base, and `w` holds indices into the width multipliers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.spaces.space import SearchSpace, Stage
from ofa_toolkit.spaces.subnet import StageChoice, Subnet

_KEYS = {"ks", "e", "d", "w", "r", "wid", "image_size"}
_NUM_STEM_STAGES = 2
_STEM_KEPT = 2


def from_official(
    space: SearchSpace, architecture: Mapping[str, Any], *, resolution: int | None = None
) -> Subnet:
    """The subnet an official architecture dictionary describes.

    Args:
        space: The space it belongs to.
        architecture: `ks`, `e`, `d`, for ResNet-50 `w`, and `r` or `image_size` where it is stated.
        resolution: Input size where the dictionary states none; default the space's largest.

    Raises:
        FileFormatError: A key is unknown or missing, or a list has the wrong length.
        SubnetNotInSpaceError: A choice is not offered.
    """
    unknown = sorted(set(architecture) - _KEYS)
    if unknown:
        known = ", ".join(sorted(_KEYS))
        raise FileFormatError(f"Unknown key '{unknown[0]}' in an architecture; known: {known}.")
    stated = architecture.get("r", architecture.get("image_size"))
    if isinstance(stated, Sequence):
        stated = stated[0]
    if stated is None:
        stated = max(space.resolutions) if resolution is None else resolution
    is_resnet = space.stages[0].block == "resnet_stem"
    stages = _resnet_stages(space, architecture) if is_resnet else _mbconv_stages(space, architecture)
    subnet = Subnet(int(stated), tuple(stages))
    space.check(subnet)
    return subnet


def to_official(space: SearchSpace, subnet: Subnet) -> dict[str, Any]:
    """The dictionary of a subnet; entries of skipped blocks hold the stage's smallest choices."""
    space.check(subnet)
    kernel_sizes: list[int] = []
    ratios: list[float] = []
    for stage, choice in zip(space.stages, subnet.stages, strict=True):
        skipped = stage.max_depth - choice.depth
        if stage.block == "resnet_stem":
            continue
        kernel_sizes += [*choice.kernel_sizes, *[stage.kernel_sizes[0]] * skipped]
        ratios += [*choice.expand_ratios, *[stage.expand_ratios[0]] * skipped]
    if space.stages[0].block != "resnet_stem":
        depths = [choice.depth for choice in subnet.stages]
        return {"ks": kernel_sizes, "e": ratios, "d": depths, "r": [subnet.resolution]}
    stem_kept = subnet.stages[0].depth == space.stages[0].max_depth
    extra = [
        choice.depth - min(stage.depths) for stage, choice in zip(space.stages, subnet.stages, strict=True)
    ]
    widths = [_width_index(space, index, choice.width) for index, choice in enumerate(subnet.stages)]
    return {
        "e": ratios,
        "d": [_STEM_KEPT if stem_kept else 0, *extra[_NUM_STEM_STAGES:]],
        "w": widths,
        "r": [subnet.resolution],
    }


def _mbconv_stages(space: SearchSpace, architecture: Mapping[str, Any]) -> list[StageChoice]:
    num_blocks = sum(stage.max_depth for stage in space.stages)
    kernel_sizes = _per_entry(architecture, "ks", num_blocks)
    ratios = _per_entry(architecture, "e", num_blocks)
    depths = _per_entry(architecture, "d", len(space.stages), last=space.stages[-1])
    stages, start = [], 0
    for stage, depth in zip(space.stages, depths, strict=True):
        active = slice(start, start + depth)
        stages.append(StageChoice(depth, tuple(kernel_sizes[active]), tuple(ratios[active])))
        start += stage.max_depth
    return stages


def _resnet_stages(space: SearchSpace, architecture: Mapping[str, Any]) -> list[StageChoice]:
    stem, body = space.stages[:_NUM_STEM_STAGES], space.stages[_NUM_STEM_STAGES:]
    ratios = _per_entry(architecture, "e", sum(stage.max_depth for stage in body))
    extra = _per_entry(architecture, "d", 1 + len(body))
    widths = [
        _width(space, index, wanted)
        for index, wanted in enumerate(_per_entry(architecture, "w", len(space.stages)))
    ]
    stem_depths = (max(stem[0].depths) if extra[0] == _STEM_KEPT else min(stem[0].depths), 1)
    stages = [
        StageChoice(depth, (3,) * depth, (1,) * depth, width)
        for depth, width in zip(stem_depths, widths, strict=False)
    ]
    start = 0
    for stage, more, width in zip(body, extra[1:], widths[_NUM_STEM_STAGES:], strict=True):
        depth = min(stage.depths) + more
        stages.append(StageChoice(depth, (3,) * depth, tuple(ratios[start : start + depth]), width))
        start += stage.max_depth
    return stages


def _width(space: SearchSpace, stage: int, index: int) -> int:
    """Channels for an official width index; multipliers that give equal channels share one entry."""
    widths = space.stages[stage].widths
    missing = max(len(other.widths) for other in space.stages) - len(widths)
    return widths[max(0, int(index) - missing)]


def _width_index(space: SearchSpace, stage: int, width: int | None) -> int:
    widths = space.stages[stage].widths
    assert width is not None
    missing = max(len(other.widths) for other in space.stages) - len(widths)
    return widths.index(width) + (missing if width != widths[0] else 0)


def _per_entry(
    architecture: Mapping[str, Any], key: str, count: int, *, last: Stage | None = None
) -> list[Any]:
    """The list under `key`, a scalar repeated; a missing last entry of a single-choice stage is filled in."""
    if key not in architecture:
        raise FileFormatError(f"An architecture needs the key '{key}'.")
    value = architecture[key]
    entries = list(value) if isinstance(value, Sequence) else [value] * count
    is_open = not isinstance(value, Sequence) or len(entries) == count - 1
    if last is not None and len(last.depths) == 1 and is_open:
        entries = [*entries[: count - 1], last.depths[0]]
    if len(entries) != count:
        raise FileFormatError(f"'{key}' has {len(entries)} entries; this space needs {count}.")
    return entries

"""The architecture dictionaries of the once-for-all repositories (`ks`, `e`, `d`, `w`, `r`).

Lists hold one entry per block the supernet has, those of skipped blocks included; a scalar stands for all.
Numbers may be whole floats (2.0). As in the reference, a stage with one depth has that one whatever `d` says.
For ResNet-50, `d[0]` keeps the stem's residual convolution when at its maximum (2), `d[1:]` count blocks
beyond each stage's base, and `w` holds indices into the width multipliers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.spaces import space_rules
from ofa_toolkit.spaces.space import SearchSpace
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
        resolution: Input size where the dictionary states none; default the space's largest. It need not be
            among those the space offers: the network is the same.

    Raises:
        FileFormatError: A key is unknown or missing, a value has the wrong type, or a list the wrong length.
        SubnetNotInSpaceError: A choice is not offered.
    """
    unknown = sorted(set(architecture) - _KEYS)
    if unknown:
        known = ", ".join(sorted(_KEYS))
        raise FileFormatError(f"Unknown key '{unknown[0]}' in an architecture; known: {known}.")
    stated = stated_resolution(architecture)
    if stated is None:
        stated = max(space.resolutions) if resolution is None else resolution
    is_resnet = space.stages[0].block == "resnet_stem"
    for key in ("ks",) if is_resnet else ("w", "wid"):
        if architecture.get(key) is not None:
            raise FileFormatError(f"'{key}': '{space.name}' has no choice of it; leave it out.")
    stages = _resnet_stages(space, architecture) if is_resnet else _mbconv_stages(space, architecture)
    subnet = Subnet(stated, tuple(stages))
    space.check_architecture(subnet)
    return subnet


def stated_resolution(document: Mapping[str, Any]) -> int | None:
    """The input size, in pixels, under `r` or `image_size`: a number or a list with one; None without one.

    Raises:
        FileFormatError: It is no size, or there are two.
    """
    found: dict[int, str] = {}
    for key in ("r", "image_size"):
        value = document.get(key)
        if value is None:
            continue
        if isinstance(value, Sequence) and not isinstance(value, str):
            if len(value) != 1:
                raise FileFormatError(f"'{key}' is {value!r}; one resolution is needed.")
            value = value[0]
        found[_pixels(key, value)] = key
    if len(found) > 1:
        raise FileFormatError(f"'r' and 'image_size' state two resolutions: {', '.join(map(str, found))}.")
    return next(iter(found), None)


def _pixels(key: str, value: Any) -> int:
    pixels, most = whole_number(key, value), space_rules.LARGEST["resolutions"]
    if not 1 <= pixels <= most:
        raise FileFormatError(f"'{key}' is {value!r}; allowed is a whole number of pixels from 1 to {most}.")
    return pixels


def whole_number(where: str, value: Any) -> int:
    """A whole number as files of others write it: 2 or 2.0.

    Raises:
        FileFormatError: It is none; a text is not read as a number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        hint = "Write numbers without quotes." if isinstance(value, str) else None
        raise FileFormatError(f"'{where}' is {value!r}, not a whole number.", hint=hint)
    return int(value)


def to_official(space: SearchSpace, subnet: Subnet) -> dict[str, Any]:
    """The dictionary of a subnet; entries of skipped blocks hold the stage's smallest choices."""
    space.check_architecture(subnet)
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
    kernel_sizes = _whole_numbers(architecture, "ks", num_blocks)
    ratios = _ratios(architecture, num_blocks)
    stages, start = [], 0
    for stage, depth in zip(space.stages, _depths(space, architecture), strict=True):
        active = slice(start, start + depth)
        stages.append(StageChoice(depth, tuple(kernel_sizes[active]), tuple(ratios[active])))
        start += stage.max_depth
    return stages


def _resnet_stages(space: SearchSpace, architecture: Mapping[str, Any]) -> list[StageChoice]:
    stem, body = space.stages[:_NUM_STEM_STAGES], space.stages[_NUM_STEM_STAGES:]
    ratios = _ratios(architecture, sum(stage.max_depth for stage in body))
    extra = _whole_numbers(architecture, "d", 1 + len(body))
    if extra[0] not in (0, 1, _STEM_KEPT):
        raise FileFormatError(f"'d[0]' is {extra[0]}; the stem's is 0, 1 or {_STEM_KEPT}.")
    widths = [
        _width(space, index, wanted)
        for index, wanted in enumerate(_whole_numbers(architecture, "w", len(space.stages)))
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
    most = max(len(other.widths) for other in space.stages)
    if not 0 <= index < most:
        raise FileFormatError(f"'w[{stage}]' is {index}; width indices are 0 to {most - 1}.")
    return widths[max(0, index - (most - len(widths)))]


def _width_index(space: SearchSpace, stage: int, width: int | None) -> int:
    widths = space.stages[stage].widths
    assert width is not None
    missing = max(len(other.widths) for other in space.stages) - len(widths)
    return widths.index(width) + (missing if width != widths[0] else 0)


def _depths(space: SearchSpace, architecture: Mapping[str, Any]) -> list[int]:
    """Depth of each stage; a last stage with one depth may be left out."""
    stages, given = space.stages, architecture.get("d")
    is_last_fixed = len(stages[-1].depths) == 1
    if is_last_fixed and isinstance(given, (list, tuple)) and len(given) == len(stages) - 1:
        architecture = {**architecture, "d": [*given, stages[-1].depths[0]]}
    depths = _whole_numbers(architecture, "d", len(stages))
    return [
        stage.depths[0] if len(stage.depths) == 1 and depth >= stage.depths[0] else depth
        for stage, depth in zip(stages, depths, strict=True)
    ]


def _ratios(architecture: Mapping[str, Any], count: int) -> list[float]:
    ratios = _per_entry(architecture, "e", count)
    for index, ratio in enumerate(ratios):
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)):
            raise FileFormatError(f"'e[{index}]' is {ratio!r}, not a number.")
    return [int(ratio) if ratio == ratio // 1 else ratio for ratio in ratios]


def _whole_numbers(architecture: Mapping[str, Any], key: str, count: int) -> list[int]:
    values = _per_entry(architecture, key, count)
    return [whole_number(f"{key}[{index}]", value) for index, value in enumerate(values)]


def _per_entry(architecture: Mapping[str, Any], key: str, count: int) -> list[Any]:
    """The list under `key`, a number repeated."""
    if key not in architecture:
        raise FileFormatError(f"An architecture needs the key '{key}'.")
    value = architecture[key]
    if isinstance(value, (int, float)):
        return [value] * count
    if not isinstance(value, (list, tuple)):
        raise FileFormatError(f"'{key}' is {str(value)[:40]!r}, not a number or a list of numbers.")
    if len(value) != count:
        raise FileFormatError(f"'{key}' has {len(value)} entries; this space needs {count}.")
    return list(value)

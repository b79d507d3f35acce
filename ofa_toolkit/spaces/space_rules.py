"""What the numbers of a search space must be, so that each of its subnets can be built and encoded."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sized
from typing import Any

from ofa_toolkit.core.errors import ConfigError

LARGEST: dict[str, int] = {
    "widths": 16_384,
    "depths": 64,
    "kernel_sizes": 31,
    "expand_ratios": 64,
    "resolutions": 4096,
    "single_resolutions": 4096,
    "width": 16_384,
    "block_width": 16_384,
    "expand_width": 65_536,
    "mix_width": 65_536,
    "stride": 4,
    "block_stride": 4,
    "num_classes": 1_000_000,
}
"""Largest value of each field: far beyond any network of use, and small enough to be counted and drawn."""

MOST_BLOCKS = 256
MOST_CODES = 255
"""A subnet is encoded in bytes: so many values has a gene at most."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def check_name(name: str) -> None:
    """Refuse names that could not be part of a file's name."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"name: '{name}' is no name of a space; allowed are letters, digits, dots, dashes, underscores."
        )


def check_numbers(**values: Any) -> None:
    """Whole numbers from 1 to the field's largest."""
    for name, value in values.items():
        _check_whole(name, value)


def choices(name: str, values: Iterable[Any], *, may_be_empty: bool = False) -> tuple[Any, ...]:
    """The values as a tuple: in range, ascending, each once; whole-numbered expand ratios as integers."""
    kept = tuple(_ratio(value) if name == "expand_ratios" else value for value in values)
    for index, value in enumerate(kept):
        where = f"{name}[{index}]"
        if name == "expand_ratios":
            _check_ratio(where, value)
        else:
            _check_whole(where, value, name)
        if name == "kernel_sizes" and value % 2 == 0:
            raise ConfigError(f"{where}: {value} is even; kernels have a centre.")
    if not kept and not may_be_empty:
        raise ConfigError(f"{name}: at least one value is needed.")
    if any(before >= after for before, after in itertools.pairwise(kept)):
        raise ConfigError(f"{name}: {list(kept)} must ascend, each value once.")
    if len(kept) > MOST_CODES:
        raise ConfigError(f"{name}: {len(kept)} values; at most {MOST_CODES} are allowed.")
    return kept


def check_least(name: str, values: tuple[int, ...], least: int) -> None:
    """Refuse input sizes that leave nothing for the last layers with a stride."""
    if values and values[0] < least:
        raise ConfigError(f"{name}[0]: {too_few(values[0])} The least is {least}.")


def too_few(pixels: int, network: str = "") -> str:
    """Why an input is too small."""
    whose = f" for {network}" if network else ""
    return f"{pixels} pixels are too few{whose}: its last layers would halve a single one."


def compound_pairs(
    pairs: Iterable[Iterable[Any]], depths: tuple[int, ...], ratios: tuple[float, ...]
) -> tuple[tuple[int, float], ...]:
    """The pairs (depth, expand ratio) as tuples: exactly one an offered depth, with an offered ratio."""
    kept = tuple((depth, _ratio(ratio)) for depth, ratio in pairs)
    if sorted(depth for depth, _ in kept) != list(depths):
        raise ConfigError(f"compound: needs one pair for each of the depths {list(depths)}.")
    for _, ratio in kept:
        if ratio not in ratios:
            raise ConfigError(f"compound: expand ratio {ratio} is not among {list(ratios)}.")
    return kept


def check_block_choices(kernel_sizes: Sized, expand_ratios: Sized) -> None:
    """Refuse more choices of one block than its code can tell apart."""
    count = len(kernel_sizes) * len(expand_ratios)
    if count >= MOST_CODES:
        raise ConfigError(
            f"kernel_sizes, expand_ratios: {count} combinations; at most {MOST_CODES - 1} can be encoded."
        )


def expand_scales(values: Iterable[Any], max_depth: int) -> tuple[float, ...]:
    """One factor on the expand ratio a block, or none at all."""
    kept = tuple(_ratio(value) for value in values)
    for index, value in enumerate(kept):
        _check_ratio(f"expand_scales[{index}]", value)
    if kept and len(kept) < max_depth:
        raise ConfigError(f"expand_scales: {len(kept)} values for {max_depth} blocks; give one a block.")
    return kept


def check_shortcut(has_shortcut: bool, width: int, block_width: int, block_stride: int) -> None:
    """Refuse a sum of maps of unequal sizes."""
    if has_shortcut and block_stride != 1:
        raise ConfigError(f"block_shortcut: needs block_stride 1, which is {block_stride}.")
    if has_shortcut and width != block_width:
        raise ConfigError(
            f"block_shortcut: needs equal widths; width is {width} and block_width {block_width}."
        )


def check_bn_eps(value: Any) -> None:
    """A number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise ConfigError(f"bn_eps: {value!r} is out of range; allowed is a number above 0 and below 1.")


def check_depths(max_depths: Iterable[int]) -> None:
    """Refuse a space without stages, or with more blocks in all than can be handled."""
    depths = tuple(max_depths)
    if not depths:
        raise ConfigError("stages: at least one is needed.")
    if sum(depths) > MOST_BLOCKS:
        raise ConfigError(f"stages: {sum(depths)} blocks in all; at most {MOST_BLOCKS} are allowed.")


def _check_whole(where: str, value: Any, name: str | None = None) -> None:
    most = LARGEST[name or where]
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not 1 <= value <= most:
        raise ConfigError(f"{where}: {value!r} is out of range; allowed is a whole number from 1 to {most}.")


def _ratio(value: Any) -> Any:
    """3.0 as 3, so that equal spaces are written and identified alike."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_ratio(where: str, value: Any) -> None:
    most = LARGEST["expand_ratios"]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value <= most:
        raise ConfigError(f"{where}: {value!r} is out of range; allowed is a number above 0, at most {most}.")

"""Subnets that are larger than another in one choice: more of it, and less of nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.space import SearchSpace

GrownChoice = Literal["resolution", "width", "depth", "kernel size", "expand ratio"]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One larger subnet.

    Attributes:
        choice: What has grown.
        text: In words, such as `kernel size 5 instead of 3 in stage 2, block 1`.
        row: The larger subnet, encoded, `(genes,)`.
    """

    choice: GrownChoice
    text: str
    row: Population


def growths(space: SearchSpace, row: Population) -> list[Growth]:
    """Subnets of the space that are larger than an encoded one `(genes,)` in one choice.

    Each larger resolution; the next width or depth of a stage; the next kernel size or expand ratio of a
    block; last, each of these at the least in all blocks. A block that is added has the smallest kernel and
    ratio. Ratios that are tied to the depth stay out.
    """
    encoding = Encoding(space)
    found = list(_steps(space, encoding, row))
    rows = np.array([growth.row for growth in found]).reshape(-1, encoding.num_genes)
    kept = encoding.is_member(rows) & (rows != row).any(axis=1)
    return [growth for growth, is_kept in zip(found, kept, strict=True) if is_kept]


def _steps(space: SearchSpace, encoding: Encoding, row: Population) -> Iterator[Growth]:
    for index in range(row[0] + 1, len(space.resolutions)):
        text = f"{space.resolutions[index]} instead of {space.resolutions[row[0]]}"
        yield _growth("resolution", text, row, {0: index})
    for index, (stage, columns) in enumerate(zip(space.stages, encoding.block_columns, strict=True)):
        place = f"in stage {index + 1}"
        column = encoding.width_columns[index]
        if column is not None and row[column] + 1 < len(stage.widths):
            own, larger = (stage.widths[row[column] + step] for step in (0, 1))
            yield _growth("width", f"{larger} instead of {own} {place}", row, {column: row[column] + 1})
        codes = [int(code) for code in row[columns] if code]
        for larger in sorted(depth for depth in stage.depths if depth > len(codes))[:1]:
            added = dict.fromkeys(range(columns.start + len(codes), columns.start + larger), 1)
            yield _growth("depth", f"{larger} instead of {len(codes)} {place}", row, added)
        ratios = len(stage.expand_ratios)
        for block, code in enumerate(codes):
            kernel, ratio = divmod(code - 1, ratios)
            where, column = f"{place}, block {block + 1}", columns.start + block
            if kernel + 1 < len(stage.kernel_sizes):
                text = f"{stage.kernel_sizes[kernel + 1]} instead of {stage.kernel_sizes[kernel]} {where}"
                yield _growth("kernel size", text, row, {column: code + ratios})
            if ratio + 1 < ratios:
                text = f"{stage.expand_ratios[ratio + 1]:g} instead of {stage.expand_ratios[ratio]:g} {where}"
                yield _growth("expand ratio", text, row, {column: code + 1})
    yield from _everywhere(space, encoding, row)


def _everywhere(space: SearchSpace, encoding: Encoding, row: Population) -> Iterator[Growth]:
    """One kernel size, then one expand ratio, at the least in all blocks of the stages that offer it."""
    kernels = sorted({kernel for stage in space.stages for kernel in stage.kernel_sizes})
    ratios = sorted({ratio for stage in space.stages for ratio in stage.expand_ratios})
    for kernel in kernels:
        least = [(_index(stage.kernel_sizes, kernel), 0) for stage in space.stages]
        yield _growth("kernel size", f"{kernel} everywhere", row, _at_least(encoding, row, least))
    for ratio in ratios:
        least = [(0, _index(stage.expand_ratios, ratio)) for stage in space.stages]
        yield _growth("expand ratio", f"{ratio:g} everywhere", row, _at_least(encoding, row, least))


def _index(offered: Sequence[float], value: float) -> int:
    """Where a value stands; 0 where it is not offered."""
    return offered.index(value) if value in offered else 0


def _at_least(encoding: Encoding, row: Population, least: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Codes by column, with the indices of kernel and ratio of every stage raised to the least ones."""
    changes = {}
    for stage, columns, (kernel, ratio) in zip(
        encoding.space.stages, encoding.block_columns, least, strict=True
    ):
        for column in range(columns.start, columns.stop):
            if row[column]:
                own_kernel, own_ratio = divmod(int(row[column]) - 1, len(stage.expand_ratios))
                raised = max(kernel, own_kernel) * len(stage.expand_ratios) + max(ratio, own_ratio)
                changes[column] = 1 + raised
    return changes


def _growth(choice: GrownChoice, text: str, row: Population, changes: dict[int, int]) -> Growth:
    larger = row.copy()
    larger[list(changes)] = list(changes.values())
    return Growth(choice=choice, text=f"{choice} {text}", row=larger)

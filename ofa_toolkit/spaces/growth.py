"""Subnets with one choice of another grown by one step: more of the same, and nothing less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.space import SearchSpace

GrownChoice = Literal["resolution", "width", "depth", "kernel size", "expand ratio"]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One subnet that is larger by one step.

    Attributes:
        choice: What has grown.
        text: In words, such as `kernel size 5 instead of 3 in stage 2, block 1`.
        row: The larger subnet, encoded, `(genes,)`.
    """

    choice: GrownChoice
    text: str
    row: Population


def growths(space: SearchSpace, row: Population) -> list[Growth]:
    """All subnets of the space that are larger than an encoded one `(genes,)` by one step.

    A block that is added has the smallest kernel and ratio. Ratios that are tied to the depth stay out.
    """
    encoding = Encoding(space)
    found = list(_steps(space, encoding, row))
    member = encoding.is_member(np.stack([growth.row for growth in found])) if found else ()
    return [growth for growth, is_member in zip(found, member, strict=True) if is_member]


def _steps(space: SearchSpace, encoding: Encoding, row: Population) -> Iterator[Growth]:
    if row[0] + 1 < len(space.resolutions):
        larger, own = space.resolutions[row[0] + 1], space.resolutions[row[0]]
        yield _growth("resolution", f"{larger} instead of {own}", row, {0: row[0] + 1})
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


def _growth(choice: GrownChoice, text: str, row: Population, changes: dict[int, int]) -> Growth:
    larger = row.copy()
    larger[list(changes)] = list(changes.values())
    return Growth(choice=choice, text=f"{choice} {text}", row=larger)

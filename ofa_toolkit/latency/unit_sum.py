"""Sums over the units of a space for whole populations: a look-up per pair of units and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.units import Unit, UnitTables

Array = npt.NDArray[np.float32]

_LARGEST_PAIR_TABLE = 60_000
"""Rows of a merged table; beyond this it leaves the processor's cache and merging stops paying."""


class UnitSum:
    """Adds up one row of each unit's table, `(N, figures)`.

    Units that share their gene columns but for one each (two blocks at the same resolution) are merged into
    one table over both codes when that is small, which halves the look-ups.

    Args:
        units: The units of the space.
        tables: One array `(combinations, figures)` per unit, in the order of `units.units`.
    """

    def __init__(self, units: UnitTables, tables: Sequence[npt.NDArray[np.floating]]) -> None:
        self.num_figures = tables[0].shape[1]
        self._parts = _merge(
            [
                (unit.columns, unit.shape, table.reshape(*unit.shape, self.num_figures))
                for unit, table in zip(units.units, tables, strict=True)
            ]
        )

    def __call__(self, population: Population) -> Array:
        """Sums of each row of `(N, genes)`."""
        columns = np.ascontiguousarray(population.T).astype(np.int32)
        total = np.zeros((len(population), self.num_figures), dtype=np.float32)
        for used, shape, table in self._parts:
            index = columns[used[0]]
            for column, size in zip(used[1:], shape[1:], strict=True):
                index = index * np.int32(size) + columns[column]
            total += table.take(index, axis=0)
        return total


_Part = tuple[tuple[int, ...], tuple[int, ...], npt.NDArray[np.floating]]


def _merge(parts: Sequence[_Part]) -> list[_Part]:
    """Add tables whose columns are contained in another's, then merge pairs over the same first column."""
    merged: list[_Part] = []
    for part in sorted(parts, key=lambda p: -len(p[0])):
        for index, other in enumerate(merged):
            joined = _join(part, other)
            if joined is not None:
                merged[index] = joined
                break
        else:
            merged.append(part)
    return [
        (used, shape, np.ascontiguousarray(table.reshape(-1, table.shape[-1]), dtype=np.float32))
        for used, shape, table in merged
    ]


def _join(part: _Part, other: _Part) -> _Part | None:
    """One table over the columns of both, or None where that would be large or save no look-up."""
    used = tuple(sorted({*part[0], *other[0]}))
    size = dict(zip(part[0] + other[0], part[1] + other[1], strict=True))
    shape = tuple(size[column] for column in used)
    if used[0] != part[0][0] or np.prod(shape) > _LARGEST_PAIR_TABLE or len(used) > max(len(other[0]), 3):
        return None

    def spread(source: _Part) -> npt.NDArray[np.floating]:
        full = [size[column] if column in source[0] else 1 for column in used]
        return source[2].reshape(*full, source[2].shape[-1])

    return used, shape, spread(part) + spread(other)


def unit_at(row: npt.NDArray[np.integer], unit: Unit) -> int:
    """Row of a unit's table that one encoded subnet uses."""
    index = 0
    for column, size in zip(unit.columns, unit.shape, strict=True):
        index = index * size + int(row[column])
    return index

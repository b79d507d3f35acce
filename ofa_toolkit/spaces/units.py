"""A space cut into units (stem, each block, head) whose layers depend on few genes only.

Any figure that adds up over layers, or is a maximum over them, becomes one table per unit; evaluating a
population is then one look-up per unit.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa_toolkit.spaces.encoding import Encoding
from ofa_toolkit.spaces.fused_tables import FusedTables, Term
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower_unchecked
from ofa_toolkit.spaces.space import SearchSpace

Layers = Sequence[LayerSpec]
Figures = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Unit:
    """Part of a network.

    Attributes:
        name: `stem`, `stages.<i>.<j>`, `stages.<i>.pool` or `head`.
        columns: Columns of the encoded population that the unit's layers depend on.
        shape: Cardinality of each of them.
    """

    name: str
    columns: tuple[int, ...]
    shape: tuple[int, ...]


def unit_of(layer_name: str) -> str:
    """Name of the unit a layer of a lowered subnet belongs to."""
    first, *rest = layer_name.split(".")
    if first == "stages":
        return ".".join([first, *rest[:2]])
    return "stem" if first == "stem" else "head"


Combination = tuple[npt.NDArray[np.uint8], Mapping[str, Layers]]
"""An encoded row and its layers by the name of their unit."""


class UnitTables:
    """The units of a space: their layers for every combination of genes, and look-ups of populations."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.encoding = Encoding(space)
        self.units: tuple[Unit, ...] = tuple(self._units())

    def tables(self, figure: Callable[[Layers], float | Figures]) -> list[Figures]:
        """One table per unit, `(combinations, figures)`: `figure` of the unit's layers.

        `figure` gets the empty list for a skipped block and must then give the neutral value.
        """
        neutral = np.atleast_1d(np.asarray(figure([]), dtype=np.float64))
        tables = [np.tile(neutral, (int(np.prod(unit.shape)), 1)) for unit in self.units]
        rows, layers = zip(*self.combinations(), strict=True)
        for table, index, unit in zip(tables, self.indices(np.array(rows)), self.units, strict=True):
            # Most units depend on fewer genes than rows differ in: one row of each kind is enough.
            for place, by_unit in dict(zip(index.tolist(), layers, strict=True)).items():
                table[place] = figure(by_unit[unit.name])
        return tables

    def combinations(self) -> Iterator[Combination]:
        """Encoded rows, and their layers by unit, that together hold every unit in every combination.

        All blocks of a row share one code and stage widths alternate between two indices: a unit depends
        on nothing beyond its own code, its width and the width before it. Rows are at full depth.
        """
        yield from _combinations(self.space)

    def indices(self, population: npt.NDArray[np.integer]) -> list[npt.NDArray[np.intp]]:
        """For each unit the row of its table that each subnet uses, `(N,)`."""
        columns = np.ascontiguousarray(population.T).astype(np.intp)
        rows = []
        for unit in self.units:
            index = columns[unit.columns[0]]
            for column, size in zip(unit.columns[1:], unit.shape[1:], strict=True):
                index = index * size + columns[column]
            rows.append(index)
        return rows

    def fuse(
        self, tables: Sequence[Figures], *, combine: np.ufunc = np.add, dtype: npt.DTypeLike = np.float64
    ) -> FusedTables:
        """The tables as one fast function from populations to figures, added up over all units.

        Args:
            tables: One per unit, as `tables` gives them.
            combine: `np.add`, or `np.maximum` for the largest figure of any unit.
            dtype: Type of the result.
        """
        terms = [Term(unit.columns, table) for unit, table in zip(self.units, tables, strict=True)]
        cardinalities = [gene.cardinality for gene in self.encoding.genes]
        return FusedTables(cardinalities, terms, combine=combine, dtype=dtype)

    def sum(self, population: npt.NDArray[np.integer], tables: Sequence[Figures]) -> Figures:
        """Figures added up over all units, `(N, figures)`; `fuse` once is faster for many calls."""
        return self.fuse(tables)(population)

    def _units(self) -> Iterator[Unit]:
        space, encoding = self.space, self.encoding
        if space.stem is not None:
            yield self._unit("stem", 0)
        for index, stage in enumerate(space.stages):
            before = encoding.width_columns[index - 1] if index else None
            own = encoding.width_columns[index]
            start = encoding.block_columns[index].start
            for block in range(stage.max_depth):
                widths = (before, own) if block == 0 else (own,)
                yield self._unit(f"stages.{index}.{block}", 0, *widths, start + block)
            if stage.max_pool:
                yield self._unit(f"stages.{index}.pool", 0, own)
        yield self._unit("head", 0, encoding.width_columns[-1])

    def _unit(self, name: str, *columns: int | None) -> Unit:
        used = tuple(column for column in columns if column is not None)
        return Unit(name, used, tuple(self.encoding.genes[c].cardinality for c in used))


# A search asks for several figures of one space, each by its own `UnitTables`: lowering it is the slow part.
@functools.lru_cache(maxsize=2)
def _combinations(space: SearchSpace) -> tuple[Combination, ...]:
    encoding, names = Encoding(space), [unit.name for unit in UnitTables(space).units]
    num_codes = max(gene.cardinality for gene in encoding.genes if gene.kind == "block")
    num_widths = max(len(stage.widths) for stage in space.stages)
    found: list[Combination] = []
    for resolution, code, *widths in itertools.product(
        range(len(space.resolutions)), range(1, num_codes), range(num_widths), range(num_widths)
    ):
        row = np.zeros(encoding.num_genes, dtype=np.uint8)
        row[0] = resolution
        for column, gene in enumerate(encoding.genes[1:], start=1):
            wanted = widths[gene.stage % 2] if gene.kind == "width" else code
            row[column] = min(wanted, gene.cardinality - 1)
        row.setflags(write=False)  # shared by all callers
        layers: dict[str, list[LayerSpec]] = {name: [] for name in names}
        for layer in lower_unchecked(space, encoding.decode_unchecked(row)):
            layers[unit_of(layer.name)].append(layer)
        found.append((row, layers))
    return tuple(found)

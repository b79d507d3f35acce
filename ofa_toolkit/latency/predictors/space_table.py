"""The predictor of one search space: a table per unit, and how the sums become a latency.

Fitted from whole subnets, a unit's entry is not the time it takes alone but what it adds to a network, so
fusion and overlap are in it. With the head `max` there are two sums, the work of the device and the time its
host needs to launch it, and the larger one is the latency: eager frameworks are bound by one or the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypedDict, get_args

import numpy as np
import numpy.typing as npt

from ofa_toolkit.latency.predictors.predictor import (
    LayersLatency,
    Milliseconds,
    NotCovered,
    SizeNote,
    Tensors,
)
from ofa_toolkit.latency.predictors.signature import unit_at, unit_signature
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower_unchecked
from ofa_toolkit.spaces.space import SearchSpace, plain_values
from ofa_toolkit.spaces.space_file import space_from_document
from ofa_toolkit.spaces.units import UnitTables, unit_of

Head = Literal["sum", "max"]
_NUM_FIGURES: Mapping[Head, int] = {"sum": 1, "max": 2}


class SpaceTableDocument(TypedDict):
    """A `SpaceTable` without its tables, which are tensors."""

    kind: Literal["space_table"]
    head: Head
    space: dict[str, Any]
    space_identity: str
    resolutions: list[int]


@dataclass(frozen=True, kw_only=True)
class SpaceTable:
    """Latency of the subnets of one space, and of every space that shares its units.

    Attributes:
        space: The space whose subnets were measured.
        head: `sum` of one figure, or `max` of the sums of two.
        tables: For each unit of `UnitTables(space)` an array `(combinations, figures)` in ms.
        resolutions: Input sizes that were measured; at others of the space the tables are inter- or
            extrapolated, which every prediction says.
    """

    kind: ClassVar[str] = "space_table"
    document: ClassVar[type] = SpaceTableDocument

    space: SearchSpace
    head: Head
    tables: tuple[npt.NDArray[np.float32], ...]
    resolutions: tuple[int, ...]

    def bind(self, space: SearchSpace) -> BoundSpaceTable | NotCovered:
        """Use the tables as they are, or look up the units of a space that shares them."""
        notes: tuple[str, ...] = ()
        if space.num_classes != self.space.num_classes:
            notes = (f"classifier of {space.num_classes} classes; fitted on {self.space.num_classes}",)
            space = space.with_num_classes(self.space.num_classes)
        units = UnitTables(space)
        if space.identity == self.space.identity:
            return BoundSpaceTable(self, units, self.tables, notes)
        shared = self._shared(space, units)
        if shared is None:
            return NotCovered(reason=f"its units are not those of {self.space.name}")
        return BoundSpaceTable(self, units, shared, notes)

    def _shared(self, space: SearchSpace, units: UnitTables) -> list[npt.NDArray[np.float32]] | None:
        """Tables over the units of another space by equal layers, NaN where there are none.

        Equal layers were fitted at several input sizes; those of the size asked for come first.
        """
        if len(space.stages) != len(self.space.stages):
            return None
        known = _signatures(UnitTables(self.space))
        wanted = _signatures(units)
        by_signature = [
            {key: table[index] for index, (size, text) in keys.items() for key in (text, (size, text))}
            for table, keys in zip(self.tables, known.values(), strict=True)
        ]
        of_unit = dict(zip(known, by_signature, strict=True))
        tables = []
        for unit in units.units:
            table = np.full((int(np.prod(unit.shape)), _NUM_FIGURES[self.head]), np.nan, dtype=np.float32)
            entries = of_unit.get(unit.name, {})
            for index, (size, text) in wanted[unit.name].items():
                found = entries.get((size, text), entries.get(text))
                if found is not None:
                    table[index] = found
            if np.isnan(table).all():
                return None
            tables.append(table)
        return tables

    def predict_layers(self, layers: Sequence[LayerSpec]) -> LayersLatency | NotCovered:
        """Only networks lowered from subnets are covered, and those through `bind`."""
        del layers
        return NotCovered(reason=f"networks outside {self.space.name} have no place in its table")

    def to_parts(self) -> tuple[dict[str, Any], Tensors]:
        """The space as nested plain values, a tensor per unit."""
        description = {
            "head": self.head,
            "space": _as_plain(self.space),
            "space_identity": self.space.identity,
            "resolutions": list(self.resolutions),
        }
        units = UnitTables(self.space).units
        return description, {unit.name: table for unit, table in zip(units, self.tables, strict=True)}

    @classmethod
    def from_parts(
        cls, description: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]
    ) -> SpaceTable:
        """Undo `to_parts`."""
        if description["head"] not in get_args(Head):
            raise ValueError(f"unknown head '{description['head']}'")
        space = space_from_document(description["space"], "space")
        if space.identity != description["space_identity"]:
            raise ValueError("the described space does not have the stated identity")
        tables = []
        for unit in UnitTables(space).units:
            table = tensors[unit.name]
            if table.shape != (int(np.prod(unit.shape)), _NUM_FIGURES[description["head"]]):
                raise ValueError(f"the table of {unit.name} has the shape {table.shape}")
            tables.append(table)
        return cls(
            space=space,
            head=description["head"],
            tables=tuple(tables),
            resolutions=tuple(int(value) for value in description["resolutions"]),
        )


def _as_plain(space: SearchSpace) -> dict[str, Any]:
    """A space as nested plain values; sizes of single published networks have no entries in a table."""
    values = dict(plain_values(space))
    del values["single_resolutions"]
    return values


def _span(sizes: Sequence[int]) -> str:
    return f"{min(sizes)} to {max(sizes)} pixels" if len(sizes) > 1 else f"{sizes[0]} pixels"


def _signatures(units: UnitTables) -> dict[str, dict[int, tuple[int, str]]]:
    """For each unit, input size and signature of its layers at every row; skipped blocks have no layers."""
    found: dict[str, dict[int, tuple[int, str]]] = {
        unit.name: dict.fromkeys(range(int(np.prod(unit.shape))), (0, "")) for unit in units.units
    }
    for row, layers in units.combinations():
        size = units.space.resolutions[int(row[0])]
        for unit in units.units:
            found[unit.name][unit_at(row, unit)] = (size, unit_signature(layers[unit.name]))
    return found


class BoundSpaceTable:
    """A `SpaceTable` for one space."""

    def __init__(
        self,
        table: SpaceTable,
        units: UnitTables,
        tables: Sequence[npt.NDArray[np.float32]],
        extrapolations: tuple[str, ...],
    ) -> None:
        self.extrapolations = extrapolations
        self.fitted_on = f"subnets of {table.space.name} at {_span(table.resolutions)}"
        self._table = table
        self._units = units
        self._tables = tables
        self._sum = units.fuse([table.astype(np.float64) for table in tables], dtype=np.float32)

    def predict(self, population: Population) -> Milliseconds:
        """Latency of each row in ms, `(N,)`; NaN where a unit has no entry."""
        sums = self._sum(population)
        latencies = sums[:, 0] if self._table.head == "sum" else np.maximum(sums[:, 0], sums[:, 1])
        return latencies.astype(np.float64)

    def uncovered(self, row: npt.NDArray[np.integer]) -> str:
        """The first unit without an entry."""
        layers = lower_unchecked(self._units.space, self._units.encoding.decode_unchecked(row))
        for unit, table in zip(self._units.units, self._tables, strict=True):
            if np.isnan(table[unit_at(row, unit)]).any():
                own = [layer for layer in layers if unit_of(layer.name) == unit.name]
                return f"{unit.name} has no time in its table: {unit_signature(own)}"
        raise AssertionError("every unit of the row is covered")

    def size_note(self, resolution: int) -> SizeNote | None:
        """Says so when an input size was not measured."""
        measured = self._table.resolutions
        if resolution in measured:
            return None
        smallest, largest = min(measured), max(measured)
        how = "interpolated" if smallest < resolution < largest else "extrapolated"
        return SizeNote.beyond(
            *(resolution, smallest, largest),
            near=f"not measured, {how} from {smallest}-{largest}",
            far=f"far outside the measured range {smallest}-{largest}",
        )

"""The additive predictor: a measured time per unit of a space, added up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.documents import parse_json
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
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.units import UnitTables, unit_of

_FIXED = {"granularity": "unit", "scale": 1.0}
"""What the description of every table says of its entries."""


class EntriesDocument(TypedDict):
    """An `EntryPredictor` without its keys and times, which are tensors."""

    kind: Literal["entries"]
    granularity: Literal["unit"]
    bias_ms: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class EntryPredictor:
    """`bias_ms + sum of entries`.

    Attributes:
        times_ms: Time in ms of each unit of a space (stem, block, head), by `signature.unit_signature` of its
            layers: found by what is computed, not by where it stands, so that a table serves every space
            that has the same units.
        bias_ms: Added once per network.
    """

    kind: ClassVar[str] = "entries"
    document: ClassVar[type] = EntriesDocument

    times_ms: Mapping[str, float]
    bias_ms: float = 0.0

    def bind(self, space: SearchSpace) -> BoundEntries | NotCovered:
        """Look up every unit of the space; those without an entry are NaN."""
        units = UnitTables(space)
        tables = units.tables(lambda layers: self._time(layers)[0])
        covered = sum(int(np.isfinite(table).sum()) for table in tables)
        skipped = sum(int((table == 0).sum()) for table in tables)
        if covered == skipped:
            return NotCovered(reason=f"no unit of {space.name} was measured")
        return BoundEntries(self, units, tables)

    def predict_layers(self, layers: Sequence[LayerSpec]) -> LayersLatency | NotCovered:
        """Latency of one network that consists of measured entries."""
        total = 0.0
        for part in self._parts(layers):
            time, missing = self._time(part)
            if missing:
                return NotCovered(reason=f"not measured: {missing}")
            total += time
        return LayersLatency(latency_ms=self.bias_ms + total)

    def _parts(self, layers: Sequence[LayerSpec]) -> Iterator[Sequence[LayerSpec]]:
        start = 0
        for index in range(1, len(layers) + 1):
            if index == len(layers) or unit_of(layers[index].name) != unit_of(layers[start].name):
                yield layers[start:index]
                start = index

    def _time(self, layers: Sequence[LayerSpec]) -> tuple[float, str | None]:
        """Time of one unit in ms, or NaN with its name where it was not measured."""
        if not layers:
            return 0.0, None
        key = unit_signature(layers)
        if key not in self.times_ms:
            return float("nan"), f"{unit_of(layers[0].name)} ({key})"
        return self.times_ms[key], None

    def to_parts(self) -> tuple[dict[str, Any], Tensors]:
        """Keys as UTF-8 JSON bytes, times as float64."""
        keys = sorted(self.times_ms)
        return {**_FIXED, "bias_ms": self.bias_ms}, {
            "keys": np.frombuffer(json.dumps(keys).encode(), dtype=np.uint8),
            "times_ms": np.array([self.times_ms[key] for key in keys], dtype=np.float64),
        }

    @classmethod
    def from_parts(
        cls, description: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]
    ) -> EntryPredictor:
        """Undo `to_parts`."""
        if any(description[key] != value for key, value in _FIXED.items()):
            raise ValueError("its entries are not units that are added up")
        keys = parse_json(tensors["keys"].tobytes(), "The list of entries")
        times = tensors["times_ms"]
        if len(keys) != len(times) or not np.isfinite(times).all():
            raise ValueError("entries and times do not match")
        return cls(
            times_ms=dict(zip(keys, times.tolist(), strict=True)),
            bias_ms=float(description["bias_ms"]),
        )


class BoundEntries:
    """An `EntryPredictor` for one space."""

    extrapolations: tuple[str, ...] = ()
    fitted_on = "its measured units"

    def __init__(
        self, predictor: EntryPredictor, units: UnitTables, tables: Sequence[npt.NDArray[np.float64]]
    ) -> None:
        self._predictor = predictor
        self._units = units
        self._tables = tables
        self._sum = units.fuse(tables, dtype=np.float32)

    def predict(self, population: Population) -> Milliseconds:
        """Latency of each row in ms, `(N,)`; NaN where a unit has no entry."""
        total = self._sum(population)[:, 0].astype(np.float64)
        return self._predictor.bias_ms + total

    def uncovered(self, row: npt.NDArray[np.integer]) -> str:
        """The first unit without an entry."""
        layers = lower_unchecked(self._units.space, self._units.encoding.decode_unchecked(row))
        for unit, table in zip(self._units.units, self._tables, strict=True):
            if np.isnan(table[unit_at(row, unit), 0]):
                own = [layer for layer in layers if unit_of(layer.name) == unit.name]
                return f"not measured: {self._predictor._time(own)[1]}"
        raise AssertionError("every unit of the row is covered")

    def size_note(self, resolution: int) -> SizeNote | None:
        """Entries are exact or missing, so no resolution is an extrapolation."""
        del resolution
        return None

"""The calibrated predictor: a non-negative combination of other devices' predictions, MACs and a constant.

Devices differ in how fast they are at each kind of work, and what is slow on one is slow on its relatives;
so a few measured networks suffice to weigh the relatives. The members are stored inside, so that a
calibrated table does not change when the tables it came from do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity.macs import count_macs
from ofa_toolkit.complexity.population import PopulationComplexity
from ofa_toolkit.core.config_types import Bounds
from ofa_toolkit.latency.predictors.predictor import (
    BoundPredictor,
    LayersLatency,
    Milliseconds,
    NotCovered,
    Predictor,
    PredictorDocument,
    SizeNote,
    Tensors,
    predictors_from_parts,
    predictors_to_parts,
)
from ofa_toolkit.spaces.containment import belongs_to
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.space import SearchSpace

_MILLION = 1e6


@dataclass(frozen=True, kw_only=True)
class WeighedTable:
    """One part of a combination.

    Attributes:
        table: `device:variant` it was taken from.
        identity: Identity of that table.
        predictors: Predictors of the table, in order of preference.
        weight: Factor on its latency, not negative.
    """

    table: str
    identity: str
    predictors: tuple[Predictor, ...]
    weight: float

    def bind(self, space: SearchSpace) -> BoundPredictor | NotCovered:
        """The first predictor that covers the space, those that do not extrapolate before the others."""
        found: BoundPredictor | None = None
        for predictor in self.predictors:
            bound = predictor.bind(space)
            if isinstance(bound, NotCovered):
                continue
            if not bound.extrapolations:
                return bound
            found = found or bound
        return found or NotCovered(reason=f"{self.table} does not cover {space.name}")

    def predict_layers(self, layers: Sequence[LayerSpec]) -> LayersLatency | NotCovered:
        """As `bind`, for one network."""
        for predictor in self.predictors:
            answer = predictor.predict_layers(layers)
            if not isinstance(answer, NotCovered):
                return answer
        return NotCovered(reason=f"{self.table} does not cover the network")


class MemberDocument(TypedDict):
    """A `WeighedTable`."""

    table: str
    identity: str
    weight: Annotated[float, Bounds(above=0)]
    predictors: list[PredictorDocument]


class CombinationDocument(TypedDict):
    """A `Combination` without its members' tensors."""

    kind: Literal["combination"]
    members: list[MemberDocument]
    bias_ms: Annotated[float, Bounds(at_least=0)]
    ms_per_million_macs: Annotated[float, Bounds(at_least=0)]
    probes_space: str
    probes_space_name: str
    num_probes: Annotated[int, Bounds(at_least=3)]


@dataclass(frozen=True, kw_only=True)
class Combination:
    """`bias_ms + ms_per_million_macs * MACs + sum of weight * member`.

    Attributes:
        members: The tables it combines.
        bias_ms: Added once per network, not negative.
        ms_per_million_macs: Not negative.
        probes_space: Identity of the space the measured networks came from.
        probes_space_name: Name of that space.
        num_probes: Number of measured networks.
    """

    kind: ClassVar[str] = "combination"
    document: ClassVar[type] = CombinationDocument

    members: tuple[WeighedTable, ...]
    bias_ms: float
    ms_per_million_macs: float
    probes_space: str
    probes_space_name: str
    num_probes: int

    def bind(self, space: SearchSpace) -> BoundCombination | NotCovered:
        """Bind every member."""
        bound: list[tuple[float, BoundPredictor]] = []
        for member in self.members:
            part = member.bind(space)
            if isinstance(part, NotCovered):
                return part
            bound.append((member.weight, part))
        return BoundCombination(self, space, bound, is_own=belongs_to(space, self.probes_space))

    def predict_layers(self, layers: Sequence[LayerSpec]) -> LayersLatency | NotCovered:
        """Latency of one network that all members cover."""
        total = self.bias_ms + self.ms_per_million_macs * count_macs(layers) / _MILLION
        size: SizeNote | None = None
        for member in self.members:
            answer = member.predict_layers(layers)
            if isinstance(answer, NotCovered):
                return answer
            total += member.weight * answer.latency_ms
            size = size or answer.size
        claim = f"calibrated with networks of {self.probes_space_name}"
        return LayersLatency(latency_ms=total, extrapolations=(claim,), size=size)

    def to_parts(self) -> tuple[dict[str, Any], Tensors]:
        """Members with all their parts."""
        tensors: Tensors = {}
        described = []
        for index, member in enumerate(self.members):
            predictors, own = predictors_to_parts(member.predictors, f"members.{index}")
            tensors |= own
            described.append(
                {
                    "table": member.table,
                    "identity": member.identity,
                    "weight": member.weight,
                    "predictors": predictors,
                }
            )
        return {
            "members": described,
            "bias_ms": self.bias_ms,
            "ms_per_million_macs": self.ms_per_million_macs,
            "probes_space": self.probes_space,
            "probes_space_name": self.probes_space_name,
            "num_probes": self.num_probes,
        }, tensors

    @classmethod
    def from_parts(
        cls, description: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]
    ) -> Combination:
        """Undo `to_parts`."""
        return cls(
            members=tuple(
                WeighedTable(
                    table=str(described["table"]),
                    identity=str(described["identity"]),
                    predictors=predictors_from_parts(described["predictors"], tensors, f"members.{index}"),
                    weight=float(described["weight"]),
                )
                for index, described in enumerate(description["members"])
            ),
            bias_ms=float(description["bias_ms"]),
            ms_per_million_macs=float(description["ms_per_million_macs"]),
            probes_space=str(description["probes_space"]),
            probes_space_name=str(description["probes_space_name"]),
            num_probes=int(description["num_probes"]),
        )


class BoundCombination:
    """A `Combination` for one space.

    Where the measured networks are of that space, nothing is extrapolated, however far its members are from
    it: the weights were fitted, and their error found, on such networks.
    """

    def __init__(
        self,
        combination: Combination,
        space: SearchSpace,
        members: Sequence[tuple[float, BoundPredictor]],
        *,
        is_own: bool,
    ) -> None:
        notes = [f"calibrated with networks of {combination.probes_space_name}"]
        notes += [note for _, member in members for note in member.extrapolations]
        self.extrapolations = () if is_own else tuple(dict.fromkeys(notes))
        self.fitted_on = f"networks of {combination.probes_space_name}"
        self._is_own = is_own
        self._combination = combination
        self._members = members
        self._complexity = PopulationComplexity(space)

    def predict(self, population: Population) -> Milliseconds:
        """Latency of each row in ms, `(N,)`; NaN where a member does not cover it."""
        total = np.full(len(population), self._combination.bias_ms)
        if self._combination.ms_per_million_macs:
            macs = self._complexity.macs(population) / _MILLION
            total += self._combination.ms_per_million_macs * macs
        for weight, member in self._members:
            total += weight * member.predict(population)
        return total

    def uncovered(self, row: npt.NDArray[np.integer]) -> str:
        """What the first member that does not cover it says."""
        for _, member in self._members:
            if not np.isfinite(member.predict(row[None].astype(np.uint8))).all():
                return member.uncovered(row)
        raise AssertionError("every member covers the row")

    def size_note(self, resolution: int) -> SizeNote | None:
        """The first member's note, if any has one and the measured networks were of another space."""
        for _, member in self._members if not self._is_own else ():
            note = member.size_note(resolution)
            if note is not None:
                return note
        return None

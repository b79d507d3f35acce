"""From timed units and timed whole networks to an additive table, and how wrong it is.

A unit timed on its own has warm weights and a call of its own around it; in a network it has cold weights
and no call. Sums of isolated units are therefore biased. The correction is linear and has three numbers,
so that the table stays additive: a factor on the unit's time, a time per unit, and a time per byte of
weights. They are fitted to some whole networks by least squares on relative errors, held near (1, 0, 0);
other networks, which take no part in it, tell the error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity import count_params
from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.core.rank_correlation import spearman
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.measuring.measure import Estimate, TimedItem
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.intervals import ConformalBound
from ofa_toolkit.latency.predictors.predictor import NotCovered
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.latency.runtimes import isolate
from ofa_toolkit.spaces import Encoding, Population, SearchSpace, lower, sample_population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import UnitTables, unit_of

Array = npt.NDArray[np.float64]

UNIT, FIT, CHECK = "unit", "fit", "check"
_MOST_CHANGE = 0.2
_HOLD = 1e-4
_LEAST = 3
"""Networks that tell an error."""


@dataclass(frozen=True, kw_only=True)
class UnitCorrection:
    """What turns a unit's time on its own into its share of a network's.

    Attributes:
        scale: Factor on the time.
        per_unit_ms: Added for each unit; negative where the call around it costs more than the gaps.
        per_megabyte_ms: Added for each 10^6 bytes of float32 weights, which a whole network reads cold.
    """

    scale: float = 1.0
    per_unit_ms: float = 0.0
    per_megabyte_ms: float = 0.0

    def apply(self, time_ms: float, megabytes: float) -> float:
        """Corrected time; never below a fifth of the measured one."""
        corrected = self.scale * time_ms + self.per_unit_ms + self.per_megabyte_ms * megabytes
        return max(corrected, _MOST_CHANGE * time_ms)


@dataclass(frozen=True, kw_only=True)
class TableAccuracy:
    """How well predictions meet measurements of networks that took no part in the fit."""

    mape_percent: float
    spearman: float | None
    num_networks: int

    @classmethod
    def of(cls, predicted_ms: Array, measured_ms: Array) -> TableAccuracy:
        """Compare; a rank correlation needs at least three networks."""
        errors = np.abs(predicted_ms - measured_ms) / measured_ms
        return cls(
            mape_percent=float(100 * errors.mean()),
            spearman=spearman(predicted_ms, measured_ms) if len(errors) > 2 else None,
            num_networks=len(errors),
        )

    def as_error(self, split: str, space: str) -> Error:
        """As a device file holds it."""
        return Error(
            mape_percent=round(self.mape_percent, 2),
            spearman=None if self.spearman is None else round(self.spearman, 4),
            num_networks=self.num_networks,
            split=split,
            space=space,
        )


@dataclass(frozen=True, kw_only=True)
class MeasuredSpace:
    """A space's additive table and what is known of it.

    Attributes:
        space: Name of the space.
        predictor: Entries with the correction worked in.
        correction: The fitted correction.
        accuracy: On networks that took no part in the fit.
        uncorrected: Error of the plain sum of units, on the same networks.
        bound: One-sided bounds, where enough networks were held out.
        num_units: Distinct units timed.
        num_fit: Whole networks the correction was fitted on.
        waiting: Share of the wall time other processes had; None if unknown.
        spread: Typical interquartile range of an item's bursts, relative to its time.
    """

    space: str
    predictor: EntryPredictor
    correction: UnitCorrection
    accuracy: TableAccuracy
    uncorrected: TableAccuracy
    bound: ConformalBound | None
    num_units: int
    num_fit: int
    waiting: float | None
    spread: float


def build_table(space: SearchSpace, found: Mapping[str, Estimate]) -> MeasuredSpace:
    """Fit the correction on the networks to fit, and check it on the others.

    Raises:
        MeasurementError: Units or networks are missing: the measurement was interrupted.
    """
    times = unit_times(found)
    missing = [item.key for item in unit_items(space) if item.key.removeprefix(f"{UNIT} ") not in times]
    check_rows, measured_ms = networks(found, CHECK)
    if missing or len(check_rows) == 0:
        raise MeasurementError(
            f"The measurement of '{space.name}' is not finished.", hint="Run the same command again to go on."
        )
    fit_rows, fit_ms = networks(found, FIT)
    correction = fit_correction(space, times, fit_rows, fit_ms)
    predictor = corrected_predictor(space, times, correction)
    predicted_ms = _predict(predictor, space, check_rows)
    plain_ms = _predict(EntryPredictor(times_ms=times), space, check_rows)
    waits = [e.waiting for e in found.values() if e.waiting is not None]
    return MeasuredSpace(
        space=space.name,
        predictor=predictor,
        correction=correction,
        accuracy=TableAccuracy.of(predicted_ms, measured_ms),
        uncorrected=TableAccuracy.of(plain_ms, measured_ms),
        bound=ConformalBound.from_held_out(measured_ms, predicted_ms),
        num_units=len(times),
        num_fit=len(fit_rows),
        waiting=float(np.mean(waits)) if waits else None,
        spread=float(np.median([e.spread for e in found.values()])),
    )


def unit_items(space: SearchSpace) -> list[TimedItem]:
    """Every distinct unit of a space, once."""
    found: dict[str, TimedItem] = {}
    for _, by_unit in UnitTables(space).combinations():
        for layers in by_unit.values():
            if layers:
                signature = unit_signature(layers)
                if signature not in found:
                    found[signature] = TimedItem(key=f"{UNIT} {signature}", layers=isolate(layers))
    return list(found.values())


def network_items(space: SearchSpace, kind: str, rows: Population) -> list[TimedItem]:
    """Whole subnets as items."""
    subnets = Encoding(space).decode(rows)
    return [
        TimedItem(key=f"{kind} {index}", layers=lower(space, subnet), row=tuple(int(code) for code in row))
        for index, (row, subnet) in enumerate(zip(rows, subnets, strict=True))
    ]


def draw_networks(
    space: SearchSpace, num_fit: int, num_check: int, seed: int
) -> tuple[Population, Population]:
    """Random subnets to fit the correction on, and distinct ones to check it on.

    Raises:
        MeasurementError: The space has too few subnets.
    """
    generator = rng.generator(seed, "networks")
    drawn = sample_population(space, 20 * (num_fit + num_check) + 200, generator)
    _, first = np.unique(drawn, axis=0, return_index=True)
    rows = drawn[np.sort(first)]
    if len(rows) < num_fit + num_check:
        raise MeasurementError(
            f"'{space.name}' has too few subnets for {num_fit} networks to fit and {num_check} to check.",
            hint="Ask for fewer with --fit-networks and --check-networks." if len(rows) >= _LEAST else None,
        )
    return rows[:num_fit], rows[num_fit : num_fit + num_check]


def unit_times(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Isolated time (ms) of each unit by its signature."""
    prefix = f"{UNIT} "
    return {key.removeprefix(prefix): e.time_ms for key, e in found.items() if key.startswith(prefix)}


def networks(found: Mapping[str, Estimate], kind: str) -> tuple[Population, Array]:
    """Rows and times (ms) of the whole networks of a kind."""
    own = [e for key, e in found.items() if key.startswith(f"{kind} ") and e.row is not None]
    rows = np.array([e.row for e in own], dtype=np.uint8)
    return rows, np.array([e.time_ms for e in own])


def fit_correction(
    space: SearchSpace, times: Mapping[str, float], rows: Population, measured_ms: Array
) -> UnitCorrection:
    """Least squares on relative errors over whole networks, with a slight pull to no correction.

    Args:
        space: Whose encoding `rows` have.
        times: Isolated time of every unit by signature.
        rows: Whole networks `(N, genes)`; without any there is no correction.
        measured_ms: Measured times of the rows, `(N,)`.
    """
    if len(rows) == 0:
        return UnitCorrection()
    features = np.array([_features(layers, times) for layers in _lowered(space, rows)])
    relative = features / measured_ms[:, None]
    neutral = np.array([1.0, 0.0, 0.0])
    pull = np.sqrt(_HOLD * len(rows)) * np.diag(relative.mean(axis=0))
    left = np.vstack([relative, pull])
    right = np.concatenate([np.ones(len(rows)), pull @ neutral])
    solution, *_ = np.linalg.lstsq(left, right, rcond=None)
    return UnitCorrection(
        scale=float(solution[0]), per_unit_ms=float(solution[1]), per_megabyte_ms=float(solution[2])
    )


def corrected_predictor(
    space: SearchSpace, times: Mapping[str, float], correction: UnitCorrection
) -> EntryPredictor:
    """The additive table with the correction worked into every entry."""
    corrected: dict[str, float] = {}
    for item in unit_items(space):
        signature = item.key.removeprefix(f"{UNIT} ")
        if signature in times:
            corrected[signature] = correction.apply(times[signature], _megabytes(item.layers))
    return EntryPredictor(times_ms=corrected)


def _predict(predictor: EntryPredictor, space: SearchSpace, rows: Population) -> Array:
    bound = predictor.bind(space)
    assert not isinstance(bound, NotCovered)
    return bound.predict(rows)


def _lowered(space: SearchSpace, rows: Population) -> list[tuple[LayerSpec, ...]]:
    return [lower(space, subnet) for subnet in Encoding(space).decode(rows)]


def _features(layers: Sequence[LayerSpec], times: Mapping[str, float]) -> list[float]:
    """Sum of the units' times (ms), number of units, 10^6 bytes of weights."""
    by_unit: dict[str, list[LayerSpec]] = {}
    for layer in layers:
        by_unit.setdefault(unit_of(layer.name), []).append(layer)
    total = sum(times[unit_signature(own)] for own in by_unit.values())
    return [total, float(len(by_unit)), _megabytes(layers)]


def _megabytes(layers: Sequence[LayerSpec]) -> float:
    return 4e-6 * count_params(layers)

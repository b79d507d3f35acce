"""From about ten measured networks of a device to a latency table of it.

The prior is what the shipped devices say; the probes decide how to weigh it: a non-negative combination of
other devices' predictions, MACs and a constant, by least squares on relative errors. Probes spread over the
range of predicted latencies tell more than random ones. Which parts of the prior help is decided by the
probes alone: weights that do not help come out as zero.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity.population import PopulationComplexity
from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.predictors.combination import Combination, WeighedTable
from ofa_toolkit.latency.table import BoundLatency, LatencyTable, coverage_rows
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.sampling import sample_population
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.space_file import typed_space

Array = npt.NDArray[np.float64]

MIN_PROBES = 3
_POOL = 2000
_FRESH = 500
_MILLION = 1e6


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A combination and how well it meets probes it has not seen.

    Attributes:
        predictor: The combination, as a table stores it.
        fitted_mape_percent: On the probes themselves.
        held_out_mape_percent: On each probe by a fit on the others; None below four probes.
    """

    predictor: Combination
    fitted_mape_percent: float
    held_out_mape_percent: float | None

    @property
    def members(self) -> str:
        """Names of the tables that the combination weighs, as one list in words."""
        return ", ".join(member.table for member in self.predictor.members) or "none"

    def errors(self, split: str) -> tuple[Error, ...]:
        """The error on networks that were left out, as a table states it; none where it is unknown.

        Args:
            split: Words for how they were left out.
        """
        if self.held_out_mape_percent is None:
            return ()
        return (
            Error(
                mape_percent=round(self.held_out_mape_percent, 2),
                num_networks=self.predictor.num_probes,
                split=split,
                space=self.predictor.probes_space_name,
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ExpectedError:
    """Error of calibrating with so many probes, each known device standing in for the new one.

    Attributes:
        num_probes: Networks measured.
        mape_percent: Median over stand-ins and draws.
        worst_mape_percent: 90th percentile over them.
        num_draws: Number of stand-ins and draws.
    """

    num_probes: int
    mape_percent: float
    worst_mape_percent: float
    num_draws: int


class Prior:
    """Other devices' tables bound to a space: the columns a combination is made of.

    Args:
        space: The space the probes come from.
        tables: The devices to learn from; those that do not cover the space, or only a part of it, are left
            out. Without any, MACs and a constant alone are weighed.

    Raises:
        LatencyTableError: None of them covers the space.
    """

    def __init__(self, space: SearchSpace, tables: Sequence[LatencyTable]) -> None:
        self.space = space
        self.tables: list[LatencyTable] = []
        self.left_out: list[str] = []
        self._bound: list[BoundLatency] = []
        self._complexity = PopulationComplexity(space)
        rows = coverage_rows(space)
        for table in tables:
            try:
                bound = table.bind(space)
            except LatencyTableError:
                self.left_out.append(table.name)
                continue
            if not bound.is_covered(rows).all():
                self.left_out.append(table.name)
                continue
            self.tables.append(table)
            self._bound.append(bound)
        if tables and not self.tables:
            raise LatencyTableError(f"No latency table to learn from covers the space '{space.name}'.")

    def columns(self, population: Population) -> Array:
        """Predictions in ms of every table, then millions of MACs, then one, `(N, tables + 2)`."""
        predicted = [bound.predict(population) for bound in self._bound]
        macs = self._complexity.macs(population) / _MILLION
        return np.stack([*predicted, macs, np.ones(len(population))], axis=1)

    def without(self, index: int) -> list[int]:
        """Columns left when one table, and every other table of its device, is taken away."""
        device = self.tables[index].device.name
        kept = [i for i, table in enumerate(self.tables) if table.device.name != device]
        return [*kept, len(self.tables), len(self.tables) + 1]


def fit_weights(columns: Array, latencies_ms: Array) -> Array:
    """Non-negative weights of the columns by least squares on relative errors, `(columns,)`."""
    from scipy.optimize import nnls

    relative = columns / latencies_ms[:, None]
    scale = np.sqrt((relative**2).mean(axis=0))
    scale[scale == 0] = 1.0
    weights, _ = nnls(relative / scale, np.ones(len(latencies_ms)))
    return np.asarray(weights / scale, dtype=np.float64)


def spread_probes(prior: Prior, num_probes: int, generator: np.random.Generator) -> Population:
    """Subnets to measure, one from each of equal bins of predicted latency, slowest last.

    The prediction is the geometric mean of the prior's tables.
    """
    pool = sample_population(prior.space, _POOL, generator)
    predicted = np.log(prior.columns(pool)[:, : len(prior.tables)]).mean(axis=1)
    return pool[spread_rows(predicted, num_probes, generator)]


def spread_rows(predicted: Array, count: int, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Row numbers, one from each of `count` bins of equal width; empty bins lend the nearest row."""
    least, most = np.quantile(predicted, (0.005, 0.995)).tolist()
    edges = np.linspace(least, most, count + 1)
    chosen: list[int] = []
    free = np.ones(len(predicted), dtype=np.bool_)
    for low, high in itertools.pairwise(edges):
        inside = np.flatnonzero(free & (predicted >= low) & (predicted <= high))
        if len(inside):
            row = int(generator.choice(inside))
        else:
            distance = np.where(free, np.abs(predicted - (low + high) / 2), np.inf)
            row = int(distance.argmin())
        free[row] = False
        chosen.append(row)
    return np.array(chosen, dtype=np.intp)


def calibrate(prior: Prior, probes: Population, latencies_ms: Array) -> Calibration:
    """Fit the combination to measured probes.

    Args:
        prior: Tables to learn from.
        probes: Encoded subnets of the prior's space, `(N, genes)`.
        latencies_ms: Measured times of the probes, `(N,)`.

    Raises:
        LatencyTableError: Too few probes, a latency that is not positive, or a subnet twice.
    """
    if len(probes) < MIN_PROBES:
        raise LatencyTableError(
            f"{counted(len(probes), 'measured network')}: too few; at least {MIN_PROBES} are needed.",
            hint="About ten give most of the benefit: "
            f"`ofa-tk latency calibrate --samples --space {typed_space(prior.space)}`"
            if prior.tables
            else None,
        )
    if not (np.isfinite(latencies_ms).all() and (latencies_ms > 0).all()):
        raise LatencyTableError("A measured latency is not a positive number.")
    if len(np.unique(probes, axis=0)) != len(probes):
        raise LatencyTableError("A network appears twice among the probes.", hint="Give its median once.")
    columns = prior.columns(probes)
    weights = fit_weights(columns, latencies_ms)
    return Calibration(
        predictor=_combination(prior, weights, len(probes)),
        fitted_mape_percent=_mape(columns @ weights, latencies_ms),
        held_out_mape_percent=_leave_one_out(columns, latencies_ms),
    )


def expected_errors(
    prior: Prior, sizes: Sequence[int], generator: np.random.Generator, *, num_draws: int = 10
) -> list[ExpectedError]:
    """Error after calibrating with each number of probes, simulated: nothing of the new device is in it.

    Each device of the prior in turn plays the new one: its predictions, disturbed by its own held-out error,
    are measured at the probes, and the other devices' tables are combined. Real devices can differ more
    from all others than these from each other.
    """
    pool = sample_population(prior.space, _POOL + _FRESH, generator)
    columns = prior.columns(pool)
    collected: dict[int, list[float]] = {size: [] for size in sizes}
    for index, table in enumerate(prior.tables):
        kept = prior.without(index)
        if len(kept) < 3:
            continue
        truth = columns[:, index]
        noise = min((error.mape_percent for error in table.variant.errors), default=1.0) / 100
        for _ in range(num_draws):
            measured = truth * np.exp(generator.normal(0, noise, len(truth)))
            predicted = np.log(columns[:_POOL, kept[:-2]]).mean(axis=1)
            for size in sizes:
                probes = spread_rows(predicted, size, generator)
                weights = fit_weights(columns[probes][:, kept], measured[probes])
                fresh = columns[_POOL:, kept] @ weights
                collected[size].append(_mape(fresh, truth[_POOL:]))
    if not next(iter(collected.values())):
        raise LatencyTableError("Expected errors need tables of at least two devices to learn from.")
    return [
        ExpectedError(
            num_probes=size,
            mape_percent=float(np.median(errors)),
            worst_mape_percent=float(np.quantile(errors, 0.9)),
            num_draws=len(errors),
        )
        for size, errors in collected.items()
    ]


def _combination(prior: Prior, weights: Array, num_probes: int) -> Combination:
    members = tuple(
        WeighedTable(
            table=table.name,
            identity=table.identity,
            predictors=table.content.predictors,
            weight=float(weight),
        )
        for table, weight in zip(prior.tables, weights, strict=False)
        if weight > 0
    )
    return Combination(
        members=members,
        bias_ms=float(weights[-1]),
        ms_per_million_macs=float(weights[-2]),
        probes_space=prior.space.identity,
        probes_space_name=prior.space.name,
        num_probes=num_probes,
    )


def _leave_one_out(columns: Array, latencies_ms: Array) -> float | None:
    # Two columns, without any table, are still determined by the two networks that are left of three.
    if len(latencies_ms) <= MIN_PROBES and columns.shape[1] > 2:
        return None
    predicted = np.empty(len(latencies_ms))
    for index in range(len(latencies_ms)):
        others = np.arange(len(latencies_ms)) != index
        predicted[index] = columns[index] @ fit_weights(columns[others], latencies_ms[others])
    return _mape(predicted, latencies_ms)


def _mape(predicted: Array, measured: Array) -> float:
    return float(100 * np.mean(np.abs(predicted / measured - 1)))

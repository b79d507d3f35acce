"""Which known device behaves most like one of which a few networks were measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.documents import read_json
from ofa_toolkit.core.errors import FileFormatError, LatencyTableError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.rank_correlation import spearman
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.latency.calibration import MIN_PROBES
from ofa_toolkit.latency.importing import (
    READERS,
    Conditions,
    ImportContext,
    NetworkMeasurements,
    detect_format,
)
from ofa_toolkit.latency.importing.measurements import positive_number
from ofa_toolkit.latency.importing.networks_csv import row_conditions
from ofa_toolkit.latency.importing.sheet import LATENCY, read_sheet
from ofa_toolkit.latency.kit.probes_file import FORMAT, read_probes
from ofa_toolkit.latency.measuring.standard_networks import standard_network
from ofa_toolkit.latency.predictors.combination import Combination
from ofa_toolkit.latency.table import LatencyTable
from ofa_toolkit.pipelines.latency.request import LikenessRequest
from ofa_toolkit.pipelines.latency.tables import STANDARD_RESOLUTION, prior_tables
from ofa_toolkit.spaces import Encoding, Population, SearchSpace
from ofa_toolkit.spaces.space_file import open_space

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How a known device's predictions compare with measurements of another one.

    Attributes:
        table: `device:variant`.
        spearman: Rank correlation of its predictions with the measurements; None where they are all equal.
        scale: Factor that brings its predictions to the measured times (median over the networks).
        mape_percent: Mean absolute error after that, each network by the scale of the others.
    """

    table: str
    spearman: float | None
    scale: float
    mape_percent: float


@with_fields_of(LikenessRequest)
def alike_devices(request: LikenessRequest) -> list[Likeness]:
    """Tables that know every measured network, the most alike first.

    Raises:
        FileFormatError: The file holds no whole networks.
        UnknownNameError: It names a standard network that is none.
        LatencyTableError: There are too few of them, or no table knows them all.
    """
    measured = _read(request.path, request.space_name)
    num_networks = len(measured.latencies_ms)
    if num_networks < MIN_PROBES:
        raise LatencyTableError(
            f"'{request.path}' holds {counted(num_networks, 'measured network')}; at least {MIN_PROBES} are "
            "needed."
        )
    found = []
    batch_size = measured.batch_size or request.batch_size
    for table in prior_tables((), batch_size=batch_size, tables=request.tables, with_few_networks=True):
        if table.variant.measures == "throughput":
            continue
        if any(isinstance(part, Combination) for part in table.content.predictors):
            continue  # it says what others say, and may stem from these very networks
        try:
            predicted = measured.predict(table)
        except LatencyTableError:
            continue
        found.append(_likeness(table.name, predicted, measured.latencies_ms))
    if not found:
        raise LatencyTableError(f"No known device's table covers these networks{measured.origin}.")
    return sorted(found, key=lambda each: each.mape_percent)


def holds_standard_networks(path: Path) -> bool:
    """Whether a file's networks are standard ones, which are named in a column `network`."""
    if path.is_dir() or detect_format(path) != "csv":
        return False
    return any("network" in row for _, row in read_sheet(path).rows[:1])


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Measured networks.

    Attributes:
        latencies_ms: Their times, `(N,)`.
        predict: What a table predicts for them in ms, `(N,)`.
        batch_size: Images of a run, where the file says it.
        origin: Their space, to follow "these networks".
    """

    latencies_ms: Array
    predict: Callable[[LatencyTable], Array]
    batch_size: int | None = None
    origin: str = ""

    @classmethod
    def of_space(
        cls, space: SearchSpace, population: Population, latencies_ms: Array, batch_size: int | None = None
    ) -> _Measured:
        return cls(
            latencies_ms=latencies_ms,
            predict=lambda table: table.bind(space).predict(population),
            batch_size=batch_size,
            origin=f" of '{space.name}'",
        )


def _read(path: Path, space_name: str | None) -> _Measured:
    if path.suffix == ".json":
        document = read_json(path)
        if FORMAT.is_of(document):
            probes = read_probes(path).measured()
            return _Measured.of_space(probes.space, probes.population, probes.latencies_ms)
    if holds_standard_networks(path):
        return _read_standard(path)
    context = ImportContext(space=None if space_name is None else open_space(space_name))
    found = READERS[detect_format(path)]([path], context)
    if not isinstance(found, NetworkMeasurements):
        raise FileFormatError(
            f"'{path}' holds times of blocks, not of whole networks.",
            hint=command_line("latency", "audit", path),
        )
    population = Encoding(found.space).encode([network.subnet for network in found.networks])
    latencies = np.array([network.latency_ms for network in found.networks])
    return _Measured.of_space(found.space, population, latencies, found.conditions.batch_size)


def _read_standard(path: Path) -> _Measured:
    conditions, networks, latencies = Conditions(), [], []
    for number, row in read_sheet(path).rows:
        where = f"'{path}', line {number}"
        conditions = row_conditions(row, where).completed(conditions)
        resolution = row.get("resolution") or str(STANDARD_RESOLUTION)
        if not resolution.isdigit():
            raise FileFormatError(f"{where}: '{resolution}' is no resolution in pixels.")
        networks.append(standard_network(row["network"], int(resolution)))
        latencies.append(positive_number(row[LATENCY], f"{where}, latency"))

    def predict(table: LatencyTable) -> Array:
        return np.array([table.predict_layers(layers).latency_ms for layers in networks])

    return _Measured(latencies_ms=np.array(latencies), predict=predict, batch_size=conditions.batch_size)


def _likeness(name: str, predicted: Array, measured: Array) -> Likeness:
    ratios = np.log(measured / predicted)
    others = [np.median(np.delete(ratios, index)) for index in range(len(ratios))]
    has_ranks = len(set(predicted)) > 1 and len(set(measured)) > 1
    return Likeness(
        table=name,
        spearman=spearman(predicted, measured) if has_ranks else None,
        scale=float(np.exp(np.median(ratios))),
        mape_percent=float(100 * np.mean(np.abs(np.exp(np.array(others) - ratios) - 1))),
    )

"""Measure a latency table of this machine for a search space, check it on whole networks, and file it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.latency.filing import device_folder
from ofa_toolkit.latency.measuring.measure import (
    TimedItem,
    estimates,
    measure,
    open_journal,
    reference_drift,
)
from ofa_toolkit.latency.measuring.measured_table import (
    CHECK,
    FIT,
    TableAccuracy,
    UnitCorrection,
    build_table,
    draw_networks,
    network_items,
    unit_items,
)
from ofa_toolkit.latency.measuring.own_table import check_machine, file_table, journal_header, journal_path
from ofa_toolkit.latency.runtimes import RUNTIMES
from ofa_toolkit.pipelines.latency.request import MeasureRequest
from ofa_toolkit.spaces import SearchSpace
from ofa_toolkit.spaces.space_file import open_space


@dataclass(frozen=True, kw_only=True)
class MeasureReport:
    """What was measured and how good it is.

    Attributes:
        table: `device:variant`.
        path: Device folder.
        journal: File of raw results.
        num_units: Distinct units timed.
        accuracy: Error of the table on networks it has not seen.
        uncorrected: Error of the plain sum of units, on the same networks.
        correction: The fitted correction.
        waiting_percent: Share of the wall time other processes had; None if unknown.
        drift_percent: Interquartile range of the reference network; None if seen too rarely.
        spread_percent: Typical interquartile range of an item's bursts.
        caveats: Reservations that a user must know.
    """

    table: str
    path: Path
    journal: Path
    num_units: int
    accuracy: TableAccuracy
    uncorrected: TableAccuracy
    correction: UnitCorrection
    waiting_percent: float | None
    drift_percent: float | None
    spread_percent: float
    caveats: tuple[str, ...]


def measure_latency(request: MeasureRequest, reporter: Reporter = SILENT) -> MeasureReport:
    """Time every unit of a space and some whole subnets, and write the table.

    Args:
        request: Space, runtime and effort.
        reporter: Hears how far it is.

    Raises:
        MeasurementError: The runtime cannot do what is asked, or results of other conditions are in the way.
        MismatchError: The device of that name is another machine.
    """
    space = _space(request)
    runtime = RUNTIMES[request.runtime](request.options)
    items = _items(request, space)
    folder = device_folder(request.folder, request.device)
    check_machine(request.folder, request.device, runtime)
    path = journal_path(folder, runtime, space)
    path.parent.mkdir(parents=True, exist_ok=True)
    if request.is_restart:
        path.unlink(missing_ok=True)
    drawn = {"seed": request.seed, "num_fit": request.num_fit, "num_check": request.num_check}
    journal = open_journal(path, {**journal_header(space, runtime), **drawn}, reporter)
    measure(
        runtime,
        items,
        TimedItem(key="reference", layers=items[-1].layers),
        journal,
        request.effort,
        seed=request.seed,
        reporter=reporter,
    )
    measured, drift = build_table(space, estimates(journal)), reference_drift(journal)
    table = file_table(request.folder, request.device, runtime, measured, drift, space)
    return MeasureReport(
        table=table.name,
        path=folder,
        journal=path,
        num_units=measured.num_units,
        accuracy=measured.accuracy,
        uncorrected=measured.uncorrected,
        correction=measured.correction,
        waiting_percent=None if measured.waiting is None else 100 * measured.waiting,
        drift_percent=None if drift is None else 100 * drift,
        spread_percent=100 * measured.spread,
        caveats=table.variant.caveats,
    )


def _space(request: MeasureRequest) -> SearchSpace:
    space = open_space(request.space)
    if request.num_classes is not None:
        space = space.with_num_classes(request.num_classes)
    if request.resolutions is not None:
        for resolution in request.resolutions:
            space.check(space.smallest(resolution))
        space = space.with_resolutions(request.resolutions)
    return space


def _items(request: MeasureRequest, space: SearchSpace) -> list[TimedItem]:
    """Units first, then the networks; the order of timing is shuffled anyway."""
    fit, check = draw_networks(space, request.num_fit, request.num_check, request.seed)
    return [*unit_items(space), *network_items(space, CHECK, check), *network_items(space, FIT, fit)]

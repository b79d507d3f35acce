"""The whole path on this machine in under a minute: time it, search it, export, check and time the result."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.output_folder import output_folder
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.graphs.session import open_session
from ofa_toolkit.latency.measuring.effort import Effort
from ofa_toolkit.latency.runtimes.onnxruntime import OnnxRuntimeSession
from ofa_toolkit.latency.table import load_table
from ofa_toolkit.pipelines.export.onnx_file import export_onnx
from ofa_toolkit.pipelines.export.options import ExportOptions
from ofa_toolkit.pipelines.latency.measure import MeasureReport, measure_latency
from ofa_toolkit.pipelines.latency.request import MeasureRequest
from ofa_toolkit.pipelines.search.find import find_subnet
from ofa_toolkit.spaces import Encoding, SearchSpace
from ofa_toolkit.zoo.card import CARD_FILE, AccuracyFact, read_card
from ofa_toolkit.zoo.supernet import LoadedSupernet, SupernetLike, load_supernet

BUNDLED = "deps-compact-cifar10"
KIND = "quickstart"
DEVICE = "this-cpu"
TABLES = "latency_tables"

# Budgets lie at these shares of the way from the fastest subnet to the slowest.
_SHARES = (0.1, 0.4, 0.8)
_QUICK = Effort(num_passes=1, num_rounds=2, num_network_rounds=4, burst_ms=12.0)
_NUM_BURSTS = 15


@dataclass(frozen=True, kw_only=True)
class QuickstartRow:
    """One budget and the network found for it.

    Attributes:
        budget_ms: Limit of the latency.
        top1_percent: By the accuracy predictor.
        macs: Multiply-accumulates of one image.
        predicted_ms: By the table that was just measured.
        measured_ms: Time of the exported file, in ONNX Runtime on one thread.
        max_relative_error: Between outputs of file and network, relative to the largest output.
        subnet_file: File of the found subnet.
        onnx_file: File of the exported network.
    """

    budget_ms: float
    top1_percent: float
    macs: int
    predicted_ms: float
    measured_ms: float
    max_relative_error: float
    subnet_file: Path
    onnx_file: Path


@dataclass(frozen=True, kw_only=True)
class QuickstartReport:
    """What a quickstart found.

    Attributes:
        supernet: Name of the supernet.
        table: The latency table, and its error on networks it has not seen.
        rows: One per budget.
        predictor_data: Images that the accuracy predictor was fitted on.
        evaluated: Accuracy figures of the supernet's card.
    """

    supernet: str
    table: MeasureReport
    rows: tuple[QuickstartRow, ...]
    predictor_data: str
    evaluated: tuple[AccuracyFact, ...]


def quickstart(
    folder: str | Path = "quickstart",
    *,
    supernet: SupernetLike = BUNDLED,
    replace: bool = True,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> QuickstartReport:
    """Measure this CPU, find the most accurate subnet for three budgets, export, compare and time each.

    Needs no network, no images and no GPU with a bundled supernet.

    Args:
        folder: Folder for tables, subnets and ONNX files; new, empty, or a former output.
        supernet: Zoo name or folder.
        replace: Replace a former quickstart.
        force: Replace any former output of ours, changed since or not.
        reporter: Hears what is being done.

    Raises:
        OutputError: The folder holds something that may not be replaced.
        OfaToolkitError: The supernet is missing or damaged, or the processor cannot be timed.
    """
    supernet = load_supernet(supernet)
    with output_folder(folder, KIND, replace=replace, force=force) as staging:
        report = _run(staging, supernet, reporter)
    folder = Path(folder)
    rows = tuple(
        dataclasses.replace(
            row,
            subnet_file=folder / row.subnet_file.name,
            onnx_file=folder / row.onnx_file.name,
        )
        for row in report.rows
    )
    table = dataclasses.replace(
        report.table,
        path=folder / report.table.path.relative_to(staging),
        journal=folder / report.table.journal.relative_to(staging),
    )
    return dataclasses.replace(report, table=table, rows=rows)


def _run(
    folder: Path,
    supernet: LoadedSupernet,
    reporter: Reporter,
) -> QuickstartReport:
    space = supernet.space
    tables = folder / TABLES
    reporter.message(f"Timing the parts of {space.name} on this CPU (onnxruntime, one thread)")
    report = measure_latency(
        MeasureRequest(
            space=space.name,
            device=DEVICE,
            num_classes=space.num_classes,
            resolutions=space.resolutions,
            num_fit=20,
            num_check=10,
            effort=_QUICK,
            folder=tables,
        ),
        reporter,
    )
    fastest, slowest = _extremes(space, report.table, tables)
    rows = []
    for number, share in enumerate(_SHARES, start=1):
        budget = round(fastest + share * (slowest - fastest), 3)
        reporter.message(f"Searching, exporting and checking: at most {budget:.3f} ms")
        rows.append(_one_budget(folder, number, budget, supernet, report.table, tables))
    predictor = supernet.predictor
    card = supernet.folder / CARD_FILE
    return QuickstartReport(
        supernet=supernet.name,
        table=report,
        rows=tuple(rows),
        predictor_data="unknown images" if predictor is None else predictor.card.dataset,
        evaluated=read_card(card).accuracy if card.is_file() else (),
    )


def _extremes(space: SearchSpace, table: str, tables: Path) -> tuple[float, float]:
    """Predicted latency of the smallest and the largest subnet, in ms."""
    ends = Encoding(space).encode([space.smallest(), space.largest()])
    smallest, largest = load_table(table, [tables]).bind(space).predict(ends)
    return float(smallest), float(largest)


def _one_budget(
    folder: Path, number: int, budget_ms: float, supernet: LoadedSupernet, table: str, tables: Path
) -> QuickstartRow:
    found = find_subnet(supernet=supernet, device=table, latency=budget_ms, tables=[tables])
    subnet_file, onnx_file = folder / f"subnet-{number}.json", folder / f"subnet-{number}.onnx"
    found.write(subnet_file)
    options = ExportOptions(target="onnxruntime-cpu", tables=(tables,))
    exported = export_onnx(subnet_file, onnx_file, supernet=supernet, options=options)
    chosen = found.candidates[0]
    return QuickstartRow(
        budget_ms=budget_ms,
        top1_percent=found.predicted["top1_percent"]["value"],
        macs=count_macs(exported.network.layers),
        predicted_ms=chosen.latency_ms[table],
        measured_ms=time_file(onnx_file),
        max_relative_error=exported.comparison.max_relative_error,
        subnet_file=subnet_file,
        onnx_file=onnx_file,
    )


def time_file(path: Path) -> float:
    """Milliseconds of one run of an ONNX file on one thread: the median of the quietest of many bursts.

    The same statistic as in measured tables, so that the two compare.
    """
    session = open_session(path.read_bytes())
    entry = session.get_inputs()[0]
    images = np.random.default_rng(0).standard_normal(entry.shape, dtype=np.float32)
    timer = OnnxRuntimeSession(session, {entry.name: images}, is_one_thread=True)
    timer.time_runs(10)
    return min(float(np.median(timer.time_runs(20).own_ms)) for _ in range(_NUM_BURSTS))

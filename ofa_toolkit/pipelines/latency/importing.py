"""Turn measurements from elsewhere into a latency table, and file it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.errors import FileFormatError, LatencyTableError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.export.target_devices import is_software
from ofa_toolkit.latency.audit.files import file_rows, measured_rows
from ofa_toolkit.latency.calibration import Prior, calibrate
from ofa_toolkit.latency.filing import device_folder, file_variant, known_device
from ofa_toolkit.latency.importing import (
    READERS,
    ImportContext,
    MeasuredNetwork,
    NetworkMeasurements,
    UnitMeasurements,
    detect_format,
)
from ofa_toolkit.latency.importing.ofa_yaml import block_files
from ofa_toolkit.latency.importing.variant import Derivation, Origin, check_conditions, imported_device
from ofa_toolkit.latency.predictors.combination import Combination
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.signature import unit_at, unit_signature
from ofa_toolkit.latency.predictors.space_table import SpaceTable
from ofa_toolkit.latency.table import LatencyTable
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.pipelines.latency.audit import find_mistakes
from ofa_toolkit.pipelines.latency.request import ImportRequest
from ofa_toolkit.pipelines.latency.tables import prior_tables
from ofa_toolkit.spaces import Encoding, Population, SearchSpace, Subnet
from ofa_toolkit.spaces.space_file import open_space, typed_space
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.spaces.units import UnitTables

_FEWEST_RUNS = 10


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """The table that was made.

    Attributes:
        table: `device:variant`.
        path: Device folder.
        read: In words, what was read.
        provenance: Provenance of the table.
        mape_percent: Mean absolute error on networks that were left out of the fit; None if unknown.
        spearman: Rank correlation on them.
        num_checked: Number of networks it was checked on.
        median_ms: Median time of the measured networks; None where units were measured.
        caveats: Reservations that a user must know.
    """

    table: str
    path: Path
    read: str
    provenance: str
    mape_percent: float | None
    spearman: float | None
    num_checked: int
    median_ms: float | None
    caveats: tuple[str, ...]


def import_latency(request: ImportRequest) -> ImportReport:
    """Read, fit where whole networks were timed, and write.

    Raises:
        FileFormatError: A file is malformed, or does not say enough.
        LatencyTableError: The times cannot be true, and their findings are not accepted.
        OutputError: Another table of the same source and conditions would be replaced.
    """
    names = {request.format_name or detect_format(path) for path in request.paths}
    if len(names) > 1:
        raise FileFormatError(
            f"The files are of {len(names)} formats: {', '.join(sorted(names))}.", hint="Import each apart."
        )
    kind = names.pop()
    measured = READERS[kind](request.paths, _context(request))
    device = request.device or _target_device(measured)
    if device is None:
        raise FileFormatError("The measurements do not say their device.", hint="Add --device NAME.")
    check_conditions(measured.conditions)
    findings = _audited(request, measured, kind, device)
    if isinstance(measured, UnitMeasurements):
        content, account = _compose(measured)
    else:
        content, account = _calibrate(measured, request.folder)
    account = dataclasses.replace(account, caveats=(*account.caveats, *findings))
    origin = Origin(source=request.source, licence=request.licence)
    described = imported_device(device, measured.conditions, origin, account, content)
    table = file_variant(request.folder, described, content, force=request.force)
    error = account.errors[0] if account.errors else None
    return ImportReport(
        table=table.name,
        path=device_folder(request.folder, device),
        read=account.networks,
        provenance=account.provenance,
        mape_percent=None if error is None else error.mape_percent,
        spearman=None if error is None else error.spearman,
        num_checked=0 if error is None else error.num_networks,
        median_ms=_median(measured),
        caveats=account.caveats,
    )


def _median(measured: NetworkMeasurements | UnitMeasurements) -> float | None:
    if isinstance(measured, UnitMeasurements):
        return None
    return float(np.median([network.latency_ms for network in measured.networks]))


def _target_device(measured: NetworkMeasurements | UnitMeasurements) -> str | None:
    """The device a kit was built for; None where it was built for software on any."""
    target = measured.target if isinstance(measured, NetworkMeasurements) else None
    return None if target is None or is_software(target) else target


def _audited(
    request: ImportRequest, measured: NetworkMeasurements | UnitMeasurements, kind: str, device: str
) -> tuple[str, ...]:
    """What an audit of the files finds, refused unless it is accepted."""
    tables = [request.folder] if request.folder is not None and request.folder.is_dir() else []
    batch_size = measured.conditions.batch_size or 1
    if kind.startswith("trtexec-"):  # a network each
        own = [measured_rows(str(request.paths[0]), measured, batch_size)]
    else:
        paths = block_files(request.paths) if kind == "ofa-yaml" else request.paths
        own = [rows for path in paths for rows in file_rows(path, measured.space, batch_size, kind)]
    findings = find_mistakes(own, device=known_device(request.folder, device), tables=tables)
    if findings and not request.accepts_findings:
        first, more = findings[0], len(findings) - 1
        own_device = next((f.other.partition(":")[0] for f in findings if f.other), None)
        command = command_line("latency", "audit", request.paths[0], "--space", typed_space(measured.space))
        insist = "--accept-findings imports them all the same"
        if own_device is not None:
            insist = f"--device {own_device} files them where they come from, {insist}"
        rows = {table.name: len(table.rows) for table in own}
        whole = next((f.other for f in findings if f.other and len(f.rows) == rows.get(f.table)), None)
        if whole is not None and first.check == "identical":
            raise LatencyTableError(
                f"'{first.table}' is the table {whole}, row for row; '{device}' would be its second name.",
                hint=f"--device {own_device} files it where it comes from, --accept-findings as '{device}'.",
            )
        raise LatencyTableError(
            f"'{first.table}' fails the audit: {first.check}: {first.message}"
            f"{f'; and {more} more findings' if more else ''}.",
            hint=f"`{command}` names the rows; {insist}.",
        )
    return tuple(f"Imported in spite of the audit: {found.check}: {found.message}." for found in findings)


def _context(request: ImportRequest) -> ImportContext:
    space: SearchSpace | None = None
    if request.space is not None:
        space = open_space(request.space)
        if request.num_classes is not None:
            space = space.with_num_classes(request.num_classes)
    subnets = tuple(read_subnet(path, space).subnet for path in request.subnets)
    return ImportContext(space=space, subnets=subnets, conditions=request.conditions)


def _compose(measured: UnitMeasurements) -> tuple[TableContent, Derivation]:
    """Times of units as they are: by resolution where they were timed so, and by what is computed."""
    predictor = EntryPredictor(times_ms=measured.times_ms, bias_ms=measured.bias_ms)
    own = () if not measured.by_resolution else (_by_resolution(measured),)
    missing = (
        (f"{measured.num_missing} units of {measured.space.name} are not covered.",)
        if measured.num_missing
        else ()
    )
    account = Derivation(
        provenance="measured",
        method="Times of units that were measured on the device are added up.",
        networks=f"{len(measured.times_ms)} units of {measured.space.name}",
        errors=(),
        caveats=(*measured.caveats, *missing),
    )
    return TableContent(predictors=(*own, predictor)), account


def _by_resolution(measured: UnitMeasurements) -> SpaceTable:
    """Each unit at each resolution with the time it had there; with its time elsewhere where it had none."""
    units = UnitTables(measured.space)
    tables = [np.zeros((int(np.prod(unit.shape)), 1), dtype=np.float32) for unit in units.units]
    for row, layers in units.combinations():
        times = measured.by_resolution.get(measured.space.resolutions[int(row[0])], {})
        for unit, table in zip(units.units, tables, strict=True):
            if layers[unit.name]:
                signature = unit_signature(layers[unit.name])
                time = times.get(signature, measured.times_ms.get(signature, np.nan))
                table[unit_at(row, unit)] = time
    sizes = tuple(size for size in measured.space.resolutions if size in measured.by_resolution)
    return SpaceTable(space=measured.space, head="sum", tables=tuple(tables), resolutions=sizes)


def _calibrate(measured: NetworkMeasurements, folder: Path | None) -> tuple[TableContent, Derivation]:
    """Other devices' tables weighed by the measured networks."""
    networks = _distinct(measured)
    population = Encoding(measured.space).encode([network.subnet for network in networks])
    latencies = np.array([network.latency_ms for network in networks])
    tables = _prior_tables(measured, population, folder)
    notes: tuple[str, ...] = ()
    if not tables:
        notes = (
            f"No other device's table covers {measured.space.name}: fitted on MACs and a constant only.",
        )
    calibration = calibrate(Prior(measured.space, tables), population, latencies)
    account = Derivation(
        provenance="transferred",
        method=(
            f"Non-negative combination of other devices' predictions ({calibration.members}), MACs and a "
            "constant."
        ),
        networks=f"{len(networks)} subnets of {measured.space.name}, measured whole",
        errors=calibration.errors("each measured network left out in turn"),
        caveats=(*measured.caveats, *notes, *_few_repeats(networks)),
    )
    return TableContent(predictors=(calibration.predictor,)), account


def _prior_tables(
    measured: NetworkMeasurements, population: Population, folder: Path | None
) -> list[LatencyTable]:
    """Tables to learn from that know every measured network: those of the same batch size, else all.

    Combinations are left out: they say what their members say, and one may stem from these very networks.
    """
    folders = [folder] if folder is not None and folder.is_dir() else []
    try:
        tables = prior_tables((), batch_size=measured.conditions.batch_size, tables=folders)
    except LatencyTableError:
        tables = prior_tables((), batch_size=None, tables=folders)

    def knows_all(table: LatencyTable) -> bool:
        try:
            return bool(table.bind(measured.space).is_covered(population).all())
        except LatencyTableError:
            return False

    return [
        table
        for table in tables
        if not any(isinstance(part, Combination) for part in table.content.predictors) and knows_all(table)
    ]


def _distinct(measured: NetworkMeasurements) -> list[MeasuredNetwork]:
    """One network for each subnet: a subnet that was timed twice counts with its median."""
    by_subnet: dict[Subnet, list[MeasuredNetwork]] = {}
    for network in measured.networks:
        by_subnet.setdefault(network.subnet, []).append(network)
    return [
        dataclasses.replace(same[0], latency_ms=float(np.median([each.latency_ms for each in same])))
        for same in by_subnet.values()
    ]


def _few_repeats(networks: list[MeasuredNetwork]) -> tuple[str, ...]:
    few = sum(network.num_runs is not None and network.num_runs < _FEWEST_RUNS for network in networks)
    return (f"Fewer than {_FEWEST_RUNS} runs: {counted(few, 'network')}.",) if few else ()

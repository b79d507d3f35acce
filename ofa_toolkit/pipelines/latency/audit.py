"""Audit a latency table, a device, or a raw file of measurements."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.latency.audit.checks import AuditFinding, audit
from ofa_toolkit.latency.audit.files import file_rows, unit_rows
from ofa_toolkit.latency.audit.rows import AuditTable, table_rows
from ofa_toolkit.latency.device import DEVICE_FILE, Device, read_device
from ofa_toolkit.latency.device_names import find_device
from ofa_toolkit.latency.table import read_table
from ofa_toolkit.latency.table_file import SUFFIX
from ofa_toolkit.pipelines.latency.request import AuditRequest
from ofa_toolkit.spaces.space_file import open_space

_SUFFIXES = (".yaml", ".yml", ".json", ".csv", ".tsv", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What was looked at and what was found.

    Attributes:
        path: File or folder.
        tables: Names of the tables looked at.
        num_rows: Times looked at.
        findings: Times that cannot be right, or should not be trusted.
    """

    path: Path
    tables: tuple[str, ...]
    num_rows: int
    findings: tuple[AuditFinding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@with_fields_of(AuditRequest)
def audit_latency(request: AuditRequest) -> AuditReport:
    """Look for mistakes in times."""
    tables, space, batch_size = request.tables, request.space, request.batch_size
    known = None if request.device is None else find_device(request.device, tables).device
    own = _read(request.path, space, batch_size)
    more = [other for extra in request.against for other in _read(extra, space, batch_size)]
    return AuditReport(
        path=request.path,
        tables=tuple(dict.fromkeys(table.name for table in own)),
        num_rows=sum(len(table.rows) for table in own),
        findings=find_mistakes(own, device=known, more=more, tables=tables),
    )


def find_mistakes(
    own: Sequence[AuditTable],
    *,
    device: Device | None = None,
    more: Sequence[AuditTable] = (),
    tables: Sequence[Path] = (),
) -> tuple[AuditFinding, ...]:
    """What cannot be true of tables, by themselves and beside those of other devices.

    Args:
        own: Tables to look at.
        device: The known device they are of.
        more: Further tables to look for copies in.
        tables: Further folders of devices.
    """
    if device is not None:
        own = [_on_device(table, device) for table in own]
    # A device's tables may be made from the very file that is looked at.
    names = {table.name.partition(":")[0] for table in own} | ({device.name} if device else set())
    others = [*own, *more]
    has_predictions = any(table.is_prediction for table in own)
    for entry in resources.entries("latency_tables", tables).values():
        if entry.name not in names and _may_hold_copies(own):
            for folder in (entry.path, *entry.below):
                others += _device_tables(folder, has_predictions=has_predictions)
    findings: list[AuditFinding] = []
    for table in own:
        foreign = [other for other in others if _is_another(table, other)]
        findings += audit(table, foreign)
        if not table.is_prediction:
            findings += _copied_units(table, foreign)
    return tuple(findings)


def _read(path: Path, space: str | None, batch_size: int) -> list[AuditTable]:
    """Everything a path holds."""
    if path.is_file() and path.suffix == SUFFIX:
        device = read_device(path.parent)
        return table_rows(read_table(path.parent, device.variant(path.stem).name))
    if path.is_file():
        return file_rows(path, None if space is None else open_space(space), batch_size)
    if (path / DEVICE_FILE).is_file():
        return _device_tables(path)
    devices = sorted(folder.parent for folder in path.glob(f"*/{DEVICE_FILE}"))
    if devices:
        return [table for folder in devices for table in _device_tables(folder)]
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if not files:
        raise FileFormatError(f"'{path}' holds no device and no file of measurements.")
    return [table for file in files for table in _read(file, space, batch_size)]


def _may_hold_copies(own: Sequence[AuditTable]) -> bool:
    """Whether rows can be found in other devices' tables: those hold no networks of a CSV."""
    return any(table.is_prediction or not row.is_whole for table in own for row in table.rows)


def _device_tables(folder: Path, *, has_predictions: bool = True) -> list[AuditTable]:
    device = read_device(folder)
    found: list[AuditTable] = []
    for variant in device.variants:
        found += table_rows(read_table(folder, variant.name), has_predictions=has_predictions)
    journals = sorted((folder / "measurements").glob("*.jsonl"))
    return found + [_on_device(table, device) for path in journals for table in file_rows(path, None)]


def _on_device(table: AuditTable, device: Device) -> AuditTable:
    return dataclasses.replace(table, kind=device.kind, peak=device.peak)


def _is_another(table: AuditTable, other: AuditTable) -> bool:
    """Variants of one device may share what they were made from; devices only where one fit made both."""
    if table.shared_fit is not None and table.shared_fit == other.shared_fit:
        return False
    return table.name.partition(":")[0] != other.name.partition(":")[0]


def _copied_units(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """Rows of the once-for-all repositories' kind against the units of other tables, named by their keys."""
    rows, keys = unit_rows(table)
    return [
        dataclasses.replace(
            finding, rows=tuple(dict.fromkeys(key for row in finding.rows for key in keys[row]))
        )
        for finding in audit(rows, others)
    ]

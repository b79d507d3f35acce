"""Rows of raw measurement files, read as they are: an audit must see what is wrong, not refuse it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import FileFormatError, OfaToolkitError
from ofa_toolkit.core.journal import Journal
from ofa_toolkit.latency.audit.rows import AuditTable, Row, entry_rows, network_macs
from ofa_toolkit.latency.importing.block_file import KEY, BlockTime, read_blocks
from ofa_toolkit.latency.importing.detection import detect_format
from ofa_toolkit.latency.importing.measurements import NetworkMeasurements, UnitMeasurements
from ofa_toolkit.latency.importing.networks_csv import row_subnet
from ofa_toolkit.latency.importing.ofa_yaml import ofa_keys
from ofa_toolkit.latency.importing.sheet import LATENCY, read_sheet
from ofa_toolkit.latency.kit.board.journal import RESULTS_FORMAT
from ofa_toolkit.latency.measuring.measure import FORMAT as JOURNAL_FORMAT
from ofa_toolkit.latency.measuring.measured_table import UNIT, unit_items
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.spaces import SearchSpace, get_space, list_spaces, lower
from ofa_toolkit.spaces.space_file import space_from_reference
from ofa_toolkit.spaces.subnet_file import read_subnet


def file_rows(
    path: Path, space: SearchSpace | None, batch_size: int = 1, kind: str | None = None
) -> list[AuditTable]:
    """Rows of block tables (a table for each resolution), delimited text, results of a kit, or a journal.

    Args:
        path: The file.
        space: Search space of subnets in delimited text; None where their work does not matter.
        batch_size: Images behind each time, where the file does not say.
        kind: Name of its reader, see `importing.READERS`; None to find out.

    Raises:
        FileFormatError: It is none of them.
    """
    kind = kind or detect_format(path)
    if kind == "ofa-yaml":
        blocks = read_blocks(path)
        names = {size: str(path) if len(blocks) == 1 else f"{path}:{size}" for size in blocks}
        return [AuditTable(name=names[size], rows=tuple(_block_rows(blocks[size]))) for size in blocks]
    if kind == "csv":
        return [AuditTable(name=str(path), rows=tuple(_sheet_rows(path, space, batch_size)))]
    if kind == "kit":
        return [AuditTable(name=str(path), rows=tuple(_journal_rows(path)))]
    raise FileFormatError(
        f"'{path}' is nothing an audit can read: the times of single networks.",
        hint="Give a device folder, a folder of devices, or a file of many networks or blocks.",
    )


def measured_rows(name: str, measured: NetworkMeasurements | UnitMeasurements, batch_size: int) -> AuditTable:
    """What a reader made of files that hold a network each."""
    if isinstance(measured, UnitMeasurements):
        return AuditTable(name=name, rows=tuple(entry_rows(measured.times_ms, batch_size)))
    rows = [
        Row(
            name=f"network {number}",
            time_ms=network.latency_ms,
            macs=network_macs(lower(measured.space, network.subnet)) * batch_size,
            num_runs=network.num_runs,
            is_whole=True,
        )
        for number, network in enumerate(measured.networks, start=1)
    ]
    return AuditTable(name=name, rows=tuple(rows))


def unit_rows(table: AuditTable) -> tuple[AuditTable, dict[str, tuple[str, ...]]]:
    """Rows keyed as in the once-for-all repositories, summed up to units, to compare with shipped tables.

    Returns:
        Rows by the signature of a unit of any registered space, and the keys that each was summed from.
    """
    entries = {row.name: row.time_ms for row in table.rows}
    sizes = {int(m[1]) for name in entries if (m := re.match(r"Conv-input:(\d+)x", name))}
    times: dict[str, float] = {}
    keys: dict[str, tuple[str, ...]] = {}
    for name in list_spaces():
        space = get_space(name)
        shared = tuple(size for size in space.resolutions if size in sizes)
        for item in unit_items(space.with_resolutions(shared)) if shared else ():
            found = [next((key for key in each if key in entries), None) for each in ofa_keys(item.layers)]
            used = tuple(key for key in found if key is not None)
            if used and len(used) == len(found):
                signature = unit_signature(item.layers)
                times[signature] = sum(entries[key] for key in used)
                keys[signature] = used
    return dataclasses.replace(table, rows=tuple(entry_rows(times, 1)), is_for_copies=True), keys


def _block_rows(blocks: Mapping[str, BlockTime]) -> Iterator[Row]:
    for key, block in blocks.items():
        yield dataclasses.replace(_keyed_row(key, _number(block.mean_ms)), num_runs=block.count)


def _keyed_row(key: str, time_ms: float) -> Row:
    """A row named by a key of the once-for-all repositories."""
    match = KEY.fullmatch(key)
    if match is None:
        return Row(name=key, time_ms=time_ms)
    size_in, channels_in = _size_and_channels(match["input"])
    size_out, channels_out = _size_and_channels(match["output"])
    if match["kernel"] is None:
        kernel = 3 if match["op"] == "Conv" else 1
        is_pool = match["op"] == "AvgPool2D"
        macs = 0.0 if is_pool else kernel**2 * channels_in * channels_out * size_out**2
        return Row(name=key, time_ms=time_ms, macs=macs / (2.25 if kernel == 3 else 1))
    expand, kernel = int(match["expand"]), int(match["kernel"])
    middle = expand if expand > 10 else expand * channels_in
    macs = channels_in * middle * size_in**2 + kernel**2 * middle * size_out**2
    macs += middle * channels_out * size_out**2
    return Row(
        name=key,
        time_ms=time_ms,
        macs=float(macs),
        kernel_family=key.replace(f"-kernel:{kernel}-", "-kernel:*-"),
        kernel_size=kernel,
        width_family=key.replace(f"-expand:{expand}-", "-expand:*-"),
        width=middle,
    )


def _size_and_channels(text: str) -> tuple[int, int]:
    """`14x14x96` is a map of side 14; a bare number is a vector."""
    numbers = [int(part) for part in text.split("x") if part]
    return (numbers[0], numbers[-1]) if len(numbers) > 1 else (1, numbers[0])


def _sheet_rows(path: Path, space: SearchSpace | None, batch_size: int) -> Iterator[Row]:
    """Whole networks, named by their lines."""
    for number, row in read_sheet(path).rows:
        time_ms, count = _number(row[LATENCY]), row.get("num_runs", "")
        batch = int(row["batch_size"]) if row.get("batch_size", "").isdigit() else batch_size
        macs, name, cell = 0.0, f"line {number}", ""
        if space is not None:
            try:
                layers = lower(space, subnet := row_subnet(row, path.parent, space))
            except OfaToolkitError as error:
                raise FileFormatError(f"'{path}', line {number}: {error.message}", hint=error.hint) from error
            macs = network_macs(layers) * batch
            name = f"line {number}: {subnet.resolution} px, {count_macs(layers) / 1e6:.1f} MMACs"
            cell = f"{space.name}, batch {batch}: {subnet}"
        num_runs = int(count) if count.isdigit() else None
        yield Row(name=name, time_ms=time_ms, macs=macs, num_runs=num_runs, is_whole=True, cell=cell)


def _journal_rows(path: Path) -> Iterator[Row]:
    journal = Journal(path)
    tag = journal.lines[0].get("format") if journal.lines else None
    if tag == RESULTS_FORMAT:
        yield from _kit_rows(journal)
    elif tag == JOURNAL_FORMAT.name:
        yield from _measured_rows(journal)
    else:
        raise FileFormatError(f"'{path}' holds neither results of a kit nor a journal of `latency measure`.")


def _kit_rows(journal: Journal) -> Iterator[Row]:
    session = journal.lines[0]
    space = space_from_reference(session["space"]).with_num_classes(session["num_classes"])
    for line in journal.of_type("result"):
        try:
            subnet = read_subnet(line["subnet"], space).subnet
        except (KeyError, OfaToolkitError):
            continue
        yield Row(
            name=f"network {line['probe']}",
            time_ms=_number(line.get("median_ms")),
            macs=network_macs(lower(space, subnet)) * session["batch_size"],
            num_runs=line.get("num_runs"),
            is_whole=True,
        )


def _measured_rows(journal: Journal) -> Iterator[Row]:
    header = journal.lines[0]
    batch = header["batch_size"]
    runs: dict[str, int] = {}
    times: dict[str, list[float]] = {}
    for line in journal.of_type("result"):
        runs[line["item"]] = runs.get(line["item"], 0) + line["num_runs"]
        times.setdefault(line["item"], []).extend(line["cpu_ms"] if "cpu_ms" in line else line["wall_ms"])
    units: Sequence[str] = [item for item in times if item.startswith(f"{UNIT} ")]
    best = {item.removeprefix(f"{UNIT} "): min(times[item]) for item in units}
    for row in entry_rows(best, batch):
        yield dataclasses.replace(row, num_runs=runs[f"{UNIT} {row.name}"])


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")

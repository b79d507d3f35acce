"""Rows of raw measurement files, read as they are: an audit must see what is wrong, not refuse it."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import FileFormatError, OfaToolkitError
from ofa_toolkit.latency.audit.rows import AuditTable, Row, entry_rows, network_macs
from ofa_toolkit.latency.importing.networks_csv import LATENCY_COLUMNS, row_subnet
from ofa_toolkit.latency.importing.ofa_yaml import ofa_keys
from ofa_toolkit.latency.kit.agent import RESULTS_FORMAT, Journal
from ofa_toolkit.latency.measuring.measure import FORMAT as JOURNAL_FORMAT
from ofa_toolkit.latency.measuring.measured_table import UNIT, unit_items
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.spaces import SearchSpace, get_space, list_spaces, lower
from ofa_toolkit.spaces.space_file import space_from_reference
from ofa_toolkit.spaces.subnet_file import read_subnet

_KEY = re.compile(
    r"(?P<op>\w+)-input:(?P<input>[\dx]+)-output:(?P<output>[\dx]+)"
    r"(?:-expand:(?P<expand>\d+)-kernel:(?P<kernel>\d+)-stride:(?P<stride>\d+)(?P<flags>.*))?"
)


def file_rows(path: Path, space: SearchSpace | None) -> AuditTable:
    """Rows of a YAML table of the once-for-all repositories, a CSV, results of a kit, or a journal.

    Raises:
        FileFormatError: It is none of them.
    """
    if path.suffix in (".yaml", ".yml"):
        return AuditTable(name=str(path), rows=tuple(_yaml_rows(path)))
    if path.suffix == ".csv":
        return AuditTable(name=str(path), rows=tuple(_csv_rows(path, space)))
    if path.suffix == ".jsonl":
        return AuditTable(name=str(path), rows=tuple(_journal_rows(path)))
    raise FileFormatError(
        f"'{path}' is nothing an audit can read.",
        hint="Give a device folder, a folder of devices, or a .yaml, .csv or .jsonl file of measurements.",
    )


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


def _yaml_entries(path: Path) -> dict[str, Mapping[str, Any]]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FileFormatError(f"Cannot read '{path}' as YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(document, dict):
        raise FileFormatError(f"'{path}' is not a latency table: it holds no entries.")
    return {str(key): entry if isinstance(entry, dict) else {} for key, entry in document.items()}


def _yaml_rows(path: Path) -> Iterator[Row]:
    for key, entry in _yaml_entries(path).items():
        count = entry.get("count")
        yield dataclasses.replace(
            _keyed_row(key, _number(entry.get("mean"))), num_runs=count if isinstance(count, int) else None
        )


def _keyed_row(key: str, time_ms: float) -> Row:
    """A row named by a key of the once-for-all repositories."""
    match = _KEY.fullmatch(key)
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


def _csv_rows(path: Path, space: SearchSpace | None) -> Iterator[Row]:
    """Rows with a latency column; `key` or `subnet` or official columns name the work."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"Cannot read '{path}' as CSV: {error}.") from error
    units = {**LATENCY_COLUMNS, "mean_ms": 1.0}
    column = next((name for name in units if rows and name in rows[0]), None)
    if column is None:
        raise FileFormatError(f"'{path}' has no column {', '.join(units)}.")
    for number, row in enumerate(rows, start=2):
        time_ms = _number(row[column]) * units[column]
        count = row.get("num_runs") or row.get("count") or ""
        num_runs = int(count) if count.isdigit() else None
        if row.get("key"):
            yield dataclasses.replace(_keyed_row(row["key"], time_ms), num_runs=num_runs)
        else:
            yield _network_row(row, number, time_ms, num_runs, path, space)


def _network_row(
    row: Mapping[str, str],
    number: int,
    time_ms: float,
    num_runs: int | None,
    path: Path,
    space: SearchSpace | None,
) -> Row:
    batch = row.get("batch_size") or row.get("batch") or "1"
    macs, name = 0.0, f"line {number}"
    if space is not None:
        try:
            subnet = row_subnet(row, path.parent, space)
        except (KeyError, ValueError) as error:
            raise FileFormatError(f"'{path}', line {number}: {error!r} names no subnet.") from error
        macs = network_macs(lower(space, subnet)) * int(batch)
        name = f"line {number}: {subnet.resolution} px, {count_macs(lower(space, subnet)) / 1e6:.1f} MMACs"
    return Row(name=name, time_ms=time_ms, macs=macs, num_runs=num_runs, is_whole=True)


def _journal_rows(path: Path) -> Iterator[Row]:
    journal = Journal(str(path), read_only=True)
    tag = journal.lines[0].get("format") if journal.lines else None
    if tag == RESULTS_FORMAT:
        yield from _kit_rows(journal)
    elif tag == JOURNAL_FORMAT:
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

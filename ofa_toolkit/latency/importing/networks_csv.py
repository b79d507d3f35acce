"""Plain CSV of timed subnets, one a row.

The latency column carries its unit in its name: `latency_ms`, `latency_us` or `latency_s`. The subnet is
either a path in the column `subnet` (relative to the CSV), or the columns `resolution`, `d`, `ks`, `e` as the
once-for-all repositories write them: lists separated by `-`, one entry per block the supernet has.
Optional: `num_runs`, `spread` (relative), and the conditions `runtime`, `precision`, `batch_size`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ofa_toolkit.core.errors import FileFormatError, OfaToolkitError
from ofa_toolkit.latency.importing.measurements import (
    Conditions,
    ImportContext,
    MeasuredNetwork,
    NetworkMeasurements,
    positive_number,
)
from ofa_toolkit.spaces import SearchSpace, Subnet
from ofa_toolkit.spaces.official_architectures import from_official
from ofa_toolkit.spaces.subnet_file import read_subnet

LATENCY_COLUMNS = {"latency_ms": 1.0, "latency_us": 1e-3, "latency_s": 1e3}
_OFFICIAL_COLUMNS = ("resolution", "d", "ks", "e")


def read_csv(paths: Sequence[Path], context: ImportContext) -> NetworkMeasurements:
    """Read files of equal conditions.

    Raises:
        FileFormatError: A column is missing, or a value is malformed; names file and line.
    """
    space = context.required_space("A CSV file")
    conditions, networks = context.conditions, []
    for path in paths:
        for number, row in read_rows(path):
            where = f"'{path}', line {number}"
            conditions = _conditions(row, where).completed(conditions)
            networks.append(_network(row, where, path.parent, space))
    if not networks:
        raise FileFormatError(f"'{paths[0]}' holds no rows.")
    return NetworkMeasurements(space=space, networks=tuple(networks), conditions=conditions)


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows with their line numbers, after a look at the header."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"Cannot read '{path}' as CSV: {error}.") from error
    if len(columns & set(LATENCY_COLUMNS)) != 1:
        raise FileFormatError(
            f"'{path}' needs one column of {', '.join(LATENCY_COLUMNS)}; it has "
            f"{', '.join(sorted(columns)) or 'none'}.",
            hint="A latency column says its unit in its name.",
        )
    if "subnet" not in columns and not columns.issuperset(_OFFICIAL_COLUMNS):
        raise FileFormatError(
            f"'{path}' needs the column 'subnet' or the columns {', '.join(_OFFICIAL_COLUMNS)}."
        )
    return rows


def row_latency_ms(row: Mapping[str, str], where: str) -> float:
    """The latency of a row in ms."""
    name = next(column for column in LATENCY_COLUMNS if column in row)
    return positive_number(row[name], f"{where}, {name}") * LATENCY_COLUMNS[name]


def _network(row: Mapping[str, str], where: str, folder: Path, space: SearchSpace) -> MeasuredNetwork:
    try:
        num_runs = int(row["num_runs"]) if row.get("num_runs") else None
        spread = float(row["spread"]) if row.get("spread") else None
    except ValueError as error:
        raise FileFormatError(f"{where}: {error}.") from error
    return MeasuredNetwork(
        subnet=_subnet(row, where, folder, space),
        latency_ms=row_latency_ms(row, where),
        num_runs=num_runs,
        spread=spread,
    )


def _subnet(row: Mapping[str, str], where: str, folder: Path, space: SearchSpace) -> Subnet:
    try:
        return row_subnet(row, folder, space)
    except ValueError as error:
        raise FileFormatError(f"{where}: {error}.", hint="Write lists like 2-3-4-2-2.") from error
    except OfaToolkitError as error:
        raise FileFormatError(f"{where}: {error.message}", hint=error.hint) from error


def row_subnet(row: Mapping[str, str], folder: Path, space: SearchSpace) -> Subnet:
    """The subnet a row names; a list of one value stands for all blocks.

    Raises:
        ValueError: A value is no number.
        OfaToolkitError: The values are no subnet of the space.
    """
    if row.get("subnet"):
        return read_subnet(folder / row["subnet"], space).subnet
    lists = {key: [int(value) for value in row[key].split("-")] for key in ("d", "ks", "e")}
    choices = {key: values[0] if len(values) == 1 else values for key, values in lists.items()}
    return from_official(space, {**choices, "r": int(row["resolution"])})


def _conditions(row: Mapping[str, str], where: str) -> Conditions:
    batch = row.get("batch_size") or row.get("batch")
    if batch and not batch.isdigit():
        raise FileFormatError(f"{where}: '{batch}' is not a batch size.")
    return Conditions(
        runtime=row.get("runtime") or None,
        precision=row.get("precision") or None,
        batch_size=int(batch) if batch else None,
    )

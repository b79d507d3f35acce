"""Delimited text of timed subnets, one a row.

A row names its subnet by a file (`subnet`, relative to the table), by an architecture dictionary in any
column, as public tools write them (`{'ks': [...], 'e': [...], 'd': [...], 'r': [192]}`), or by the columns
`resolution`, `d`, `ks`, `e` with one entry per block the supernet has. Optional: `num_runs`, `spread`
(relative), and the conditions `runtime`, `precision`, `batch_size`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_toolkit.core.documents import parse_json
from ofa_toolkit.core.errors import FileFormatError, OfaToolkitError, UnknownNameError
from ofa_toolkit.core.precision import read_precision
from ofa_toolkit.latency.importing.measurements import (
    Conditions,
    ImportContext,
    MeasuredNetwork,
    NetworkMeasurements,
    positive_number,
)
from ofa_toolkit.latency.importing.sheet import LATENCY, Sheet, read_sheet
from ofa_toolkit.spaces import SearchSpace, Subnet
from ofa_toolkit.spaces.subnet_file import read_subnet

_LISTS = ("d", "ks", "e", "w")


def read_csv(paths: Sequence[Path], context: ImportContext) -> NetworkMeasurements:
    """Read files of equal conditions.

    Raises:
        FileFormatError: A column is missing, or a value is malformed; names file and line.
    """
    space = context.required_space("A CSV file")
    conditions, networks = context.conditions, []
    for path in paths:
        sheet = read_sheet(path)
        check_columns(sheet)
        for number, row in sheet.rows:
            where = f"'{path}', line {number}"
            conditions = row_conditions(row, where).completed(conditions)
            networks.append(_network(row, where, path.parent, space))
    if not networks:
        raise FileFormatError(f"'{paths[0]}' holds no rows.")
    return NetworkMeasurements(space=space, networks=tuple(networks), conditions=conditions)


def check_columns(sheet: Sheet) -> None:
    """Refuse a file whose rows cannot name their subnets.

    Raises:
        FileFormatError: There is no column for it.
    """
    for _, row in sheet.rows[:1]:
        if _dictionary(row) is None and "subnet" not in row and not {"d", "ks", "e"} <= set(row):
            raise FileFormatError(
                f"'{sheet.path}' has no column that tells the subnet; it has {', '.join(sheet.columns)}.",
                hint="Give the columns resolution, d, ks, e, or one with dictionaries of them.",
            )


def row_subnet(row: Mapping[str, str], folder: Path, space: SearchSpace) -> Subnet:
    """The subnet a row names; a list of one value stands for all blocks.

    Raises:
        FileFormatError: A value is no list of numbers, or no resolution is stated.
        OfaToolkitError: The values are no subnet of the space.
    """
    text = _dictionary(row)
    if text is None and row.get("subnet"):
        return read_subnet(folder / row["subnet"], space).subnet
    architecture = _opened(_parsed(text)) if text else {k: _list(row, k) for k in _LISTS if row.get(k)}
    if row.get("resolution"):
        resolution = _resolution(row["resolution"])
        if architecture.setdefault("r", resolution) not in (resolution, [resolution]):
            raise FileFormatError(
                f"resolution {resolution} beside a dictionary with r = {architecture['r']}."
            )
    if not {"r", "image_size", "resolution"} & set(architecture) and len(space.resolutions) > 1:
        raise FileFormatError("no resolution is stated.", hint="Add a column resolution.")
    return read_subnet(architecture, space).subnet


def _network(row: Mapping[str, str], where: str, folder: Path, space: SearchSpace) -> MeasuredNetwork:
    try:
        num_runs = int(row["num_runs"]) if row.get("num_runs") else None
        spread = float(row["spread"]) if row.get("spread") else None
    except ValueError as error:
        raise FileFormatError(f"{where}: {error}.") from error
    try:
        subnet = row_subnet(row, folder, space)
    except OfaToolkitError as error:
        raise FileFormatError(f"{where}: {error.message}", hint=error.hint) from error
    latency_ms = positive_number(row[LATENCY], f"{where}, latency")
    return MeasuredNetwork(subnet=subnet, latency_ms=latency_ms, num_runs=num_runs, spread=spread)


def _dictionary(row: Mapping[str, str]) -> str | None:
    """The cell that holds an architecture dictionary."""
    return next((cell for cell in row.values() if cell.startswith("{")), None)


def _parsed(text: str) -> dict[str, Any]:
    """A dictionary in JSON or as Python prints it; nothing is evaluated but literals."""
    try:
        value = parse_json(text, "An architecture")
    except FileFormatError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise FileFormatError(f"'{text[:40]}...' is no dictionary of numbers and lists.")
    return value


def _opened(architecture: dict[str, Any]) -> dict[str, Any]:
    """An architecture that a tool wrapped, as in `{'arch': {'ks': ...}}`."""
    inner = [value for value in architecture.values() if isinstance(value, dict)]
    if len(inner) != 1 or set(_LISTS) & set(architecture):
        return architecture
    return {**{k: v for k, v in architecture.items() if v is not inner[0]}, **_opened(inner[0])}


def _resolution(text: str) -> float:
    """`224`, `224px` and `224x224` are one."""
    match = re.fullmatch(r"(\d+)(?:\s*(?:px|pixels)|\s*[x×]\s*\1)", text.strip().lower())
    return _number(match[1] if match else text, "resolution")


def _list(row: Mapping[str, str], key: str) -> Any:
    """`2-3-4`, `[2, 3, 4]`, `2_3_4` and `2 3 4` are lists, `3` stands for all blocks."""
    if not re.fullmatch(r"(?:[\s\d.,;:|/()\[\]'\"_-]|(?<=\d)x(?=\d))+", row[key]):
        raise FileFormatError(
            f"{key} = '{row[key]}' is no list of numbers.", hint="Write lists like 2-3-4-2-2."
        )
    values = [_number(value, key) for value in re.findall(r"\d+(?:\.\d+)?", row[key])]
    return values[0] if len(values) == 1 else values


def _number(text: str, what: str) -> float:
    """A whole number where it is one, as the choices of a space are written."""
    try:
        number = float(text)
    except ValueError:
        raise FileFormatError(f"{what} = '{text}' is not a number.") from None
    return int(number) if number.is_integer() else number


def row_conditions(row: Mapping[str, str], where: str) -> Conditions:
    """The conditions that a row states.

    Raises:
        FileFormatError: A value is malformed.
    """
    batch = row.get("batch_size")
    if batch and not batch.isdigit():
        raise FileFormatError(f"{where}: '{batch}' is not a batch size.")
    try:
        precision = read_precision(row["precision"]) if row.get("precision") else None
    except UnknownNameError as error:
        raise FileFormatError(f"{where}: {error.message}", hint=error.hint) from error
    return Conditions(
        runtime=row.get("runtime") or None,
        precision=precision,
        batch_size=int(batch) if batch else None,
    )

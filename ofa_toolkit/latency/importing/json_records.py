"""Tables of measurements that were written as JSON, as rows of cells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ofa_toolkit.core.csv_table import csv_table
from ofa_toolkit.core.documents import parse_json
from ofa_toolkit.core.errors import FileFormatError

Rows = Sequence[Mapping[str, Any]]

_TIMES = re.compile(r"lat|time|mean|median|average|avg", re.IGNORECASE)


def as_csv(text: str) -> str | None:
    """JSON as delimited text, also one row a line; None where it is no table with a column of times."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return records_csv(parse_json(text, ""))
    except FileFormatError:
        return lines_csv(text)


def lines_csv(text: str) -> str | None:
    """The same of JSON that is one row a line."""
    try:
        return records_csv([parse_json(line, "") for line in text.splitlines() if line.strip()])
    except FileFormatError:
        return None


def records_csv(document: Any) -> str | None:
    """The same of parsed JSON: a list of rows, also under one name, or columns, as pandas writes them."""
    for rows in _candidates(document):
        if rows and all(isinstance(row, Mapping) for row in rows) and any(map(_TIMES.search, rows[0])):
            columns = list(dict.fromkeys(name for row in rows for name in row))
            return csv_table(columns, ([row.get(name) for name in columns] for row in rows))
    return None


def _candidates(document: Any) -> Iterator[Rows]:
    """What may be the rows, likeliest first."""
    if isinstance(document, list):
        yield document
    if not isinstance(document, Mapping):
        return
    columns, data = document.get("columns"), document.get("data")
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        yield [dict(zip(map(str, columns), row, strict=False)) for row in data]
    lists = [value for value in document.values() if isinstance(value, list)]
    if len(lists) == 1:
        yield lists[0]
    by_column = {
        name: list(values.values()) if isinstance(values, Mapping) else values
        for name, values in document.items()
        if isinstance(values, (list, Mapping))
    }
    if len({len(values) for values in by_column.values()}) == 1 and len(by_column) == len(document):
        yield [dict(zip(by_column, cells, strict=True)) for cells in zip(*by_column.values(), strict=True)]
        if all(isinstance(values, Mapping) for values in document.values()):
            yield list(document.values())

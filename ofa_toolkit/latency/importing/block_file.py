"""Files of block times of the once-for-all repositories: YAML, the same in JSON, or CSV with keys.

An entry is a key that spells out the operation, see `ofa_yaml`, and `{mean, std, count}` with the mean in ms,
or the mean alone. A file is of one resolution, which its name begins with (`224_lookup_table.yaml`), or holds
a table for each (`{"224": {...}}`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_toolkit.core.documents import check_brackets, check_depth, parse_json, read_text, too_deep
from ofa_toolkit.core.errors import FileFormatError, first_line
from ofa_toolkit.latency.importing.sheet import LATENCY, read_sheet

KEY = re.compile(
    r"(?P<op>\w+)-input:(?P<input>[\dx]+)-output:(?P<output>[\dx]+)"
    r"(?:-expand:(?P<expand>\d+)-kernel:(?P<kernel>\d+)-stride:(?P<stride>\d+)(?P<flags>.*))?"
)
"""A key of the once-for-all repositories."""

SUFFIXES = (".yaml", ".yml", ".json")
_NAME = re.compile(r"(\d+)_lookup_table")


@dataclass(frozen=True, kw_only=True)
class BlockTime:
    """One entry.

    Attributes:
        mean_ms: As the file has it; in a bad file it may be anything.
        count: Repeats; None if not stated.
    """

    mean_ms: Any
    count: int | None


Blocks = Mapping[int | None, Mapping[str, BlockTime]]
"""Entries by key, by resolution; None where neither the file's name nor its content says."""


def read_blocks(path: Path) -> Blocks:
    """All entries of a file.

    Raises:
        FileFormatError: It cannot be read, or holds no entries.
    """
    if path.suffix not in SUFFIXES:
        return _from_sheet(path)
    document = _parsed(path)
    if not isinstance(document, dict) or not document:
        raise FileFormatError(f"'{path}' is not a latency table: it holds no entries.")
    if _is_nested(document):
        return {int(size): _entries(entries, path) for size, entries in document.items()}
    name = _NAME.match(path.name)
    return {int(name[1]) if name else None: _entries(document, path)}


def is_block_table(document: Any) -> bool:
    """Whether parsed JSON is such a table."""
    if not isinstance(document, dict) or not document:
        return False
    tables = document.values() if _is_nested(document) else [document]
    return any(KEY.fullmatch(str(key)) for table in tables for key in table)


def _parsed(path: Path) -> Any:
    """A JSON or YAML document."""
    text = read_text(path)
    if text.lstrip().startswith("{"):
        return parse_json(text, f"'{path}'")
    check_brackets(text, f"'{path}'")
    import yaml

    try:
        document = yaml.safe_load(text)
    except RecursionError:
        raise too_deep(f"'{path}'") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise FileFormatError(f"Cannot read '{path}' as YAML: {first_line(error)}.") from error
    check_depth(document, f"'{path}'")
    return document


def _is_nested(document: Mapping[Any, Any]) -> bool:
    return all(str(key).isdigit() and isinstance(value, dict) for key, value in document.items())


def _entries(document: Mapping[Any, Any], path: Path) -> dict[str, BlockTime]:
    entries = {}
    for key, entry in document.items():
        if isinstance(entry, Mapping) and "mean" not in entry:
            raise FileFormatError(f"'{path}': the entry '{key}' has no 'mean'.")
        count = entry.get("count") if isinstance(entry, Mapping) else None
        mean = entry["mean"] if isinstance(entry, Mapping) else entry
        entries[str(key)] = BlockTime(mean_ms=mean, count=count if isinstance(count, int) else None)
    return entries


def _from_sheet(path: Path) -> Blocks:
    tables: dict[int | None, dict[str, BlockTime]] = {}
    for number, row in read_sheet(path).rows:
        if not row.get("key"):
            raise FileFormatError(f"'{path}', line {number}: no 'key' names the block.")
        size, count = row.get("resolution", ""), row.get("num_runs", "")
        table = tables.setdefault(int(size) if size.isdigit() else None, {})
        table[row["key"]] = BlockTime(mean_ms=row[LATENCY], count=int(count) if count.isdigit() else None)
    if not tables:
        raise FileFormatError(f"'{path}' holds no rows.")
    return tables

"""Which reader a file of measurements is for, by a look inside; its name decides only where that does not."""

from __future__ import annotations

from pathlib import Path

from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.documents import parse_json, read_text
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.latency.importing.block_file import KEY, SUFFIXES, is_block_table
from ofa_toolkit.latency.importing.json_records import lines_csv, records_csv
from ofa_toolkit.latency.importing.sheet import check_delimited, read_sheet
from ofa_toolkit.latency.importing.trtexec import is_profile, is_times
from ofa_toolkit.latency.importing.trtexec_log import is_log
from ofa_toolkit.latency.kit.probes_file import FORMAT as PROBES_FORMAT

_BY_SUFFIX = {".jsonl": "kit", ".yaml": "ofa-yaml", ".yml": "ofa-yaml", ".csv": "csv", ".tsv": "csv"}


def detect_format(path: Path) -> str:
    """Name of the reader for a file or folder.

    Raises:
        FileFormatError: It is none of the known ones; tells what was tried.
    """
    if path.is_dir():
        return "ofa-yaml"
    text = read_text(path, fallback="cp1252")
    check_delimited(path, text)
    found = _of_json(path, text) or _of_text(path, text) or _BY_SUFFIX.get(path.suffix.lower())
    if found is None:
        raise FileFormatError(
            f"'{path}' is of no known format: no JSON lines of a kit, no JSON or log of trtexec, no table of "
            "blocks (YAML, JSON), and no CSV or JSON with a latency column.",
            hint="Name its format with --format, or its columns as `ofa-tk latency import --help` has them.",
        )
    return found


def _of_json(path: Path, text: str) -> str | None:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        document = parse_json(text, f"'{path}'")
    except FileFormatError:
        if _is_journal(text):
            return "kit"
        if lines_csv(text) is not None:
            return "csv"
        if path.suffix == ".json":
            raise
        return "kit" if text.lstrip().startswith("{") and path.suffix not in SUFFIXES else None
    if PROBES_FORMAT.is_of(document):
        calibrate = command_line("latency", "calibrate", path)
        raise FileFormatError(
            f"'{path}' holds planned networks.",
            hint=f"{calibrate} --device NAME --runtime NAME --precision fp16",
        )
    if is_profile(document):
        return "trtexec-profile"
    if is_times(document):
        return "trtexec-times"
    if is_block_table(document):
        return "ofa-yaml"
    if isinstance(document, dict) and "type" in document:
        return "kit"
    return None if records_csv(document) is None else "csv"


def _is_journal(text: str) -> bool:
    """Whether the first whole line is one of a journal, which says its type; a table of times has none."""
    for line in text.splitlines():
        try:
            document = parse_json(line, "")
        except FileFormatError:
            continue
        return isinstance(document, dict) and "type" in document
    return False


def _of_text(path: Path, text: str) -> str | None:
    if is_log(text):
        return "trtexec-log"
    if path.suffix in SUFFIXES:
        return None
    try:
        sheet = read_sheet(path)
    except FileFormatError:
        return "ofa-yaml" if any(KEY.match(line.strip("'\" ")) for line in text.splitlines()) else None
    has_keys = any("key" in row and KEY.fullmatch(row["key"]) for _, row in sheet.rows[:1])
    return "ofa-yaml" if has_keys else "csv"

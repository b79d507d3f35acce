"""Delimited text with a latency column, as spreadsheets and measuring scripts write it.

Read are UTF-8 and UTF-16, with and without a byte order mark; commas, semicolons, tabs and bars; blanks
around cells; decimal commas; and headers that write `Latency (ms)` for `latency_ms`. Remarks after `#` and
the rule under the header of a Markdown table are left out. Rows written as JSON are read alike; a line is a
row's number and one for the header then. Cells come out under one name a meaning, their
latency as a plain number.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core.documents import read_text
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.latency.importing.json_records import as_csv

LATENCY = "latency"
"""Name of the latency cell."""

_DELIMITERS = ",;\t|"
_UNITS_MS = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1.0),
    **dict.fromkeys(("us", "µs", "μs", "usec", "microsecond", "microseconds"), 1e-3),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1e3),
    "ns": 1e-6,
}
_UNIT = "|".join(sorted(_UNITS_MS, key=len, reverse=True))
_HEADER_UNIT = re.compile(rf"^(?P<name>.*?)(?:[\s_]*[(\[{{]\s*|[\s_/,]+)(?P<unit>{_UNIT})\s*[)\]}}]?$")
_SECONDS = "s"
_RULE = re.compile(r"\s*:?-*:?\s*")
_NO_TEXT = (
    ("PK\x03\x04", "a workbook or a zip archive"),
    ("\u00d0\u00cf\x11\u00e0", "a workbook of an old Excel"),  # as cp1252 reads its first bytes
    ("<", "a page in HTML or XML"),
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+\.\d+")
_TIMES = re.compile(r"\b(latency|latencies|lat|time|mean|median|average|avg)\b")
_NO_TIMES = re.compile(r"\b(std|stdev|min|max|p\d+|percentile|throughput|fps|date|start|end|total|build)\b")
_NAMES = {
    "resolution": ("r", "res", "image size", "img size", "input size", "input resolution", "size"),
    "d": ("depth", "depths", "ds"),
    "ks": ("k", "kernel", "kernels", "kernel size", "kernel sizes"),
    "e": ("er", "es", "expand", "expand ratio", "expand ratios", "expansion", "expansion ratio"),
    "w": ("width", "widths", "width indices"),
    "num_runs": ("num runs", "runs", "count", "repeats", "num repeats"),
    "batch_size": ("batch size", "batch", "bs"),
}
_BY_SYNONYM = {synonym: name for name, synonyms in _NAMES.items() for synonym in synonyms}


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Rows of a file.

    Attributes:
        path: The file.
        columns: Column names as they are written.
        rows: Line number and cells by name of each row, `latency` in ms as a number's text.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]


def check_delimited(path: Path, text: str) -> None:
    """Raise `FileFormatError` for what is often saved in place of delimited text."""
    for start, kind in _NO_TEXT:
        if text.lstrip().startswith(start):
            raise FileFormatError(f"'{path}' is {kind}.", hint="Save the table as CSV.")


def read_sheet(path: Path) -> Sheet:
    """Read a file.

    Raises:
        FileFormatError: It is no text, has no latency column or several, or one without a unit.
    """
    try:
        text = read_text(path, fallback="cp1252")
        text = as_csv(text) or text
        check_delimited(path, text)
        lines = text.splitlines(keepends=True)
        header_at, delimiter, header = _header(path, lines)
        reader = csv.reader(lines[header_at + 1 :], delimiter=delimiter, skipinitialspace=True, strict=True)
        records = [(header_at + 1 + reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise FileFormatError(f"Cannot read '{path}' as CSV: {error}.") from error
    records = [(number, cells) for number, cells in records if _holds_values(cells)]
    for number, cells in records:
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            raise FileFormatError(
                f"'{path}', line {number}: {len(cells)} cells under {len(header)} column names.",
                hint="Put cells that hold the separator in double quotes.",
            )
    latency_at, factor = _latency_column(path, header)
    names = [LATENCY if at == latency_at else _name(text) for at, text in enumerate(header)]
    times = [cells[latency_at] if latency_at < len(cells) else "" for _, cells in records]
    plain = _plain_numbers(path, [number for number, _ in records], times, delimiter)
    rows = []
    for (number, cells), time in zip(records, plain, strict=True):
        row = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
        row[LATENCY] = _in_ms(path, number, header[latency_at], time, factor)
        rows.append((number, row))
    return Sheet(path=path, columns=tuple(header), rows=tuple(rows))


def _holds_values(cells: Sequence[str]) -> bool:
    """Whether a row is neither blank nor a remark nor a rule of dashes."""
    return not all(map(_RULE.fullmatch, cells)) and not cells[0].lstrip().startswith("#")


def _header(path: Path, lines: Sequence[str]) -> tuple[int, str, list[str]]:
    """Where the header is, what separates its cells, and the names in it."""
    for at, line in enumerate(lines):
        text = line.strip()
        # Some spreadsheets say `sep=;` on top, scripts put remarks there.
        if not text or text.startswith("#") or re.fullmatch(r"sep=.", text):
            continue
        cells = {
            mark: next(csv.reader([line], delimiter=mark, skipinitialspace=True)) for mark in _DELIMITERS
        }
        delimiter = max(_DELIMITERS, key=lambda mark: len(cells[mark]))
        return at, delimiter, [cell.strip() for cell in cells[delimiter]]
    raise FileFormatError(f"'{path}' is empty.")


def _words(text: str) -> str:
    return re.sub(r"[^a-z0-9µμ]+", " ", text.lower()).strip()


def _name(header: str) -> str:
    """One name a meaning; other columns keep theirs."""
    words = _words(header)
    return _BY_SYNONYM.get(words, words.replace(" ", "_"))


def _latency_column(path: Path, header: Sequence[str]) -> tuple[int, float | None]:
    """Position of the latency and the factor to ms, None where cells carry the unit."""
    found: dict[int, tuple[str, float | None]] = {}
    with_unit: dict[int, tuple[str, float | None]] = {}
    for at, text in enumerate(header):
        words, factor = _name_and_factor(text)
        if _NO_TIMES.search(words):
            continue
        if _TIMES.search(words):
            found[at] = (words, factor)
        if factor is not None:
            with_unit[at] = (words, factor)
    found = found or with_unit
    # A median beside a mean is what we take of runs of our own.
    medians = {at: each for at, each in found.items() if "median" in each[0]}
    for choice in (found, medians):
        if len(choice) == 1:
            ((at, (_, factor)),) = choice.items()
            return at, factor
    named = ", ".join(f"'{header[at]}'" for at in found) if found else ", ".join(header)
    problem = f"has several: {named}" if found else f"has {named}"
    raise FileFormatError(
        f"'{path}' needs one column with the latency; it {problem}.",
        hint="Name it latency_ms, latency_us or latency_s.",
    )


def _name_and_factor(header: str) -> tuple[str, float | None]:
    """The words of a column's name without its unit, and the factor of that to ms."""
    match = _HEADER_UNIT.match(header.strip().lower())
    if match:
        return _words(match["name"]), _UNITS_MS[match["unit"]]
    words = _words(header)
    unit = next((word for word in words.split()[1:] if word in _UNITS_MS and word != _SECONDS), None)
    return words, None if unit is None else _UNITS_MS[unit]


def _in_ms(path: Path, number: int, header: str, text: str, factor: float | None) -> str:
    """The number in ms; what is none is kept for the reader to name."""
    match = re.fullmatch(rf"(?P<number>.*?)\s*(?P<unit>{_UNIT})", text)
    if match and match["number"]:
        text, own = match["number"], _UNITS_MS[match["unit"]]
        if factor not in (None, own):
            raise FileFormatError(f"'{path}', line {number}: the cell's unit is not that of '{header}'.")
        factor = own
    if factor is None:
        raise FileFormatError(
            f"'{path}': the column '{header}' does not say its unit.", hint=f"Name it '{header} (ms)'."
        )
    try:
        return repr(float(text) * factor)
    except ValueError:
        return text


def _plain_numbers(path: Path, numbers: Sequence[int], cells: Sequence[str], delimiter: str) -> Iterator[str]:
    """Numbers with a decimal point, whatever the country they were written in."""
    texts = [re.sub(r"[\s\u00a0\u202f']", "", cell.strip('" ')) for cell in cells]
    figures = [found[0] if (found := re.match(r"[-+]?[\d.,]+", text)) else "" for text in texts]
    has_points = not any("," in figure for figure in figures) or any(map(_THOUSANDS.fullmatch, figures))
    for number, text, figure in zip(numbers, texts, figures, strict=True):
        plain = _with_point(figure, has_points=has_points, is_separator=delimiter == ",")
        if plain is None:
            raise FileFormatError(
                f"'{path}', line {number}: '{text}' can be read in two ways.",
                hint="Write decimal points, and nothing between thousands.",
            )
        yield plain + text[len(figure) :]


def _with_point(figure: str, *, has_points: bool, is_separator: bool) -> str | None:
    """A number with a decimal point and nothing between thousands; None where it can be read in two ways."""
    if has_points:
        return figure.replace(",", "") if _THOUSANDS.fullmatch(figure) or "," not in figure else None
    # Where commas separate cells, decimals have points, and a comma may stand for thousands.
    decimals = r"(,(\d{1,2}|\d{4,}))?" if is_separator else r"(,\d+)?"
    if figure and not re.fullmatch(rf"[-+]?(\d+{decimals}|\d{{1,3}}(\.\d{{3}})+,\d+)", figure):
        return None
    return figure.replace(".", "").replace(",", ".")

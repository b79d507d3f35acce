"""What commands print: results on stdout, everything else on stderr; nothing is printed elsewhere.

`--json` prints exactly one JSON document. Tables fit the terminal; written to a file or a pipe they are
plain aligned text of full width, so that `grep` and `awk` see whole rows, unless COLUMNS says how wide.
Control characters, which a card or a file's name may hold, are shown instead of obeyed.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ofa_tk.session import Session


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of `print_table`; numbers are set flush right and never broken over lines (names may be)."""

    name: str
    is_number: bool = False


def numbers(*names: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(name=name, is_number=True) for name in names]


# C0 without tab and newline, DEL, C1, and what reorders text: an escape sequence needs one of them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean(text: object) -> str:
    r"""The text with its control characters written out, such as `\x1b`."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def line(text: object = "", *, bold: bool = False) -> None:
    """Print a text of a result, on stdout."""
    if not _session().is_silent:
        click.secho(clean(text), bold=bold)


def print_json(value: Any) -> None:
    """Print one JSON document in ASCII; dataclasses, paths and NumPy values are converted, NaN is refused."""
    import json

    text = json.dumps(value, indent=2, allow_nan=False, default=_jsonable)
    session = _session()
    if not session.is_silent:
        click.echo(text)
    session.has_document = True


def print_table(
    columns: Sequence[Column | str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """Print rows under column names.

    In a terminal too narrow for them texts are folded, and where even that does not fit every row becomes
    a block of lines, one field each.
    """
    typed = [column if isinstance(column, Column) else Column(name=column) for column in columns]
    cells = [[clean(cell) for cell in row] for row in rows]
    if title:
        line(title, bold=True)
    widths = _fit(typed, cells, terminal_width())
    if widths is None:
        for index, row in enumerate(cells):
            if index:
                line()
            _print_pairs([(column.name, cell) for column, cell in zip(typed, row, strict=True)])
        return
    for text in _lines(typed, [clean(column.name) for column in typed], widths):
        line(text, bold=True)
    for row in cells:
        for text in _lines(typed, row, widths):
            line(text)


_GAP = 2
_LONG_WORD = 24


def _fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], available: int | None) -> list[int] | None:
    """Column widths that need at most `available` characters a line, or None where there are none.

    Numbers keep their width; texts and names give way, down to their longest word (very long words break).
    """
    texts = [[row[index] for row in rows] for index in range(len(columns))]
    widths = [max(map(len, [column.name, *own])) for column, own in zip(columns, texts, strict=True)]
    if available is None:
        return widths
    least = [
        max(_longest_word([column.name]), max(map(len, own), default=0))
        if column.is_number
        else _longest_word([column.name, *own])
        for column, own in zip(columns, texts, strict=True)
    ]
    excess = sum(widths) + _GAP * (len(widths) - 1) - available
    for _ in range(excess):
        # The column with the most to give gives next, so that short ones stay on one line.
        widest = max(range(len(widths)), key=lambda index: widths[index] - least[index])
        if widths[widest] == least[widest]:
            return None
        widths[widest] -= 1
    return widths


def _longest_word(texts: Iterable[str]) -> int:
    return max(min(len(word), _LONG_WORD) for text in texts for word in text.split() or [""])


def _lines(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One row of a table, as many lines as its tallest cell needs."""
    folded = [
        textwrap.wrap(cell, width, break_on_hyphens=False) or [""]
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = []
    for parts in itertools.zip_longest(*folded, fillvalue=""):
        cells = (
            part.rjust(width) if column.is_number else part.ljust(width)
            for column, width, part in zip(columns, widths, parts, strict=True)
        )
        lines.append((" " * _GAP).join(cells).rstrip())
    return lines


def terminal_width() -> int | None:
    """Characters a line: COLUMNS, or the terminal's, 80 where it does not say; None in a file or a pipe."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def print_fields(fields: Mapping[str, object], *, title: str | None = None) -> None:
    """Print names and values, one pair a line, values aligned; long values are folded in a terminal.

    There, a name longer than a third of a line stands on a line of its own, above its value.
    """
    if title:
        line(title, bold=True)
    _print_pairs(list(fields.items()))


def _print_pairs(fields: Sequence[tuple[str, object]]) -> None:
    """As `print_fields`; a name may be there several times."""
    available = terminal_width()
    names = [name for name, _ in fields]
    longest = max(map(len, names), default=0) if available is None else max(available // 3, _LONG_WORD)
    width = max((len(name) for name in names if len(name) <= longest), default=0) + _GAP
    for name, value in fields:
        text = clean(value)
        is_apart = len(name) > longest
        if is_apart:
            line(name)
        if available is not None and available - width >= _LONG_WORD:
            parts = textwrap.wrap(text, available - width, break_long_words=False, break_on_hyphens=False)
            text = ("\n" + " " * width).join(parts)
        line(f"{'' if is_apart else name:<{width}}{text}".rstrip())


def note(message: str) -> None:
    """Say what is going on, on stderr."""
    _say(clean(message))


def warn(message: str) -> None:
    """Say what the user should know although the command goes on, on stderr."""
    _say(f"{click.style('Warning:', fg='yellow', bold=True)} {clean(message)}")


def next_step(command: str) -> None:
    """End a long run with the command to type next, on stderr."""
    _say(f"Next: {click.style(clean(command), bold=True)}")


def error(message: str, hint: str | None) -> None:
    """Say why the command failed and what to try next, on stderr."""
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {clean(message)}", err=True)
    if hint:
        click.echo(f"{click.style('Hint:', bold=True)} {clean(hint)}", err=True)


def _say(text: str) -> None:
    if not _session().is_silent:
        click.echo(text, err=True)


def _session() -> Session:
    """That of the running command, or one of none."""
    context = click.get_current_context(silent=True)
    return (context and context.find_object(Session)) or Session()


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

"""What commands print: results on stdout, everything else on stderr.

`--json` prints exactly one JSON document. Tables fit the terminal; written to a file or a pipe they are
plain aligned text of full width, so that `grep` and `awk` see whole rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of `print_table`; numbers are set flush right and never broken over lines."""

    name: str
    is_number: bool = False


def print_json(value: Any) -> None:
    """Print one JSON document. Dataclasses, paths and NumPy scalars are converted; NaN is refused."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_jsonable))


def print_table(
    columns: Sequence[Column | str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """Print rows under column names.

    In a terminal too narrow for them texts are folded, and where even that does not fit every row becomes
    a block of lines, one field each.
    """
    typed = [column if isinstance(column, Column) else Column(name=column) for column in columns]
    cells = [[str(cell) for cell in row] for row in rows]
    if title:
        click.secho(title, bold=True)
    widths = _fit(typed, cells, terminal_width())
    if widths is None:
        for index, row in enumerate(cells):
            if index:
                click.echo()
            print_fields({column.name: cell for column, cell in zip(typed, row, strict=True)})
        return
    for line in _lines(typed, [column.name for column in typed], widths):
        click.echo(click.style(line, bold=True))
    for row in cells:
        for line in _lines(typed, row, widths):
            click.echo(line)


_GAP = 2
_LONG_WORD = 24


def _fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], available: int | None) -> list[int] | None:
    """Column widths that need at most `available` characters a line, or None where there are none.

    Numbers keep their width; texts give way, down to their longest word (very long words break).
    """
    texts = [[column.name, *(row[index] for row in rows)] for index, column in enumerate(columns)]
    widths = [max(map(len, column_texts)) for column_texts in texts]
    if available is None:
        return widths
    least = [
        width
        if column.is_number
        else max(min(len(word), _LONG_WORD) for text in column_texts for word in text.split() or [""])
        for column, column_texts, width in zip(columns, texts, widths, strict=True)
    ]
    excess = sum(widths) + _GAP * (len(widths) - 1) - available
    for _ in range(excess):
        # The column with the most to give gives next, so that short ones stay on one line.
        widest = max(range(len(widths)), key=lambda index: widths[index] - least[index])
        if widths[widest] == least[widest]:
            return None
        widths[widest] -= 1
    return widths


def _lines(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One row of a table, as many lines as its tallest cell needs."""
    folded = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
    lines = []
    for parts in itertools.zip_longest(*folded, fillvalue=""):
        cells = (
            part.rjust(width) if column.is_number else part.ljust(width)
            for column, width, part in zip(columns, widths, parts, strict=True)
        )
        lines.append((" " * _GAP).join(cells).rstrip())
    return lines


def terminal_width() -> int | None:
    """Characters a line of the terminal that shows stdout, or None where stdout is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_fields(fields: Mapping[str, object], *, title: str | None = None) -> None:
    """Print names and values, one pair a line, values aligned."""
    if title:
        click.secho(title, bold=True)
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        click.echo(f"{name:<{width}}  {value}")


def note(message: str) -> None:
    """Say what is going on, on stderr."""
    click.echo(message, err=True)


def warn(message: str) -> None:
    """Say what the user should know although the command goes on, on stderr."""
    click.echo(f"{click.style('Warning:', fg='yellow', bold=True)} {message}", err=True)


def next_step(command: str) -> None:
    """End a long run with the command to type next, on stderr."""
    click.echo(f"Next: {click.style(command, bold=True)}", err=True)


@contextlib.contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress on stderr; yields a function that takes the number of finished steps.

    In a terminal this is a bar with the time left; elsewhere one line every tenth of the way.
    """
    if not sys.stderr.isatty():
        yield _tenths(label, total)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total)
        yield lambda completed: progress.update(task, completed=completed)


def _tenths(label: str, total: int) -> Callable[[int], None]:
    last = -1

    def show(completed: int) -> None:
        nonlocal last
        tenth = 10 * completed // max(total, 1)
        if tenth != last:
            last = tenth
            note(f"{label}: {completed}/{total}")

    return show


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

"""What commands print: results on stdout, everything else on stderr.

`--json` prints exactly one JSON document. Tables fit the terminal; written to a file or a pipe they are
plain aligned text of full width, so that `grep` and `awk` see whole rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


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
    """Print rows under column names."""
    typed = [column if isinstance(column, Column) else Column(name=column) for column in columns]
    cells = [[str(cell) for cell in row] for row in rows]
    if title:
        click.secho(title, bold=True)
    if sys.stdout.isatty():
        _print_rich_table(typed, cells)
    else:
        _print_plain_table(typed, cells)


def _print_rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.name,
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    _console(sys.stdout).print(table)


def _print_plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    lines = [[column.name for column in columns], *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = (
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for column, width, cell in zip(columns, widths, line, strict=True)
        )
        click.echo("  ".join(cells).rstrip())


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
    console = _console(sys.stderr)
    if not console.is_terminal:
        yield _tenths(label, total)
        return
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
    with Progress(*columns, console=console) as progress:
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


def _console(stream: Any) -> Console:
    from rich.console import Console

    # Markup and highlighting off: names and numbers are printed as they are.
    return Console(file=stream, markup=False, highlight=False, emoji=False)


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

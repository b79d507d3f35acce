"""Progress of a download on stderr: a bar in a terminal, a line every tenth of the way elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from ofa_tk import output
from ofa_toolkit.core import quantities

Show = Callable[[int, "int | None"], None]


@contextlib.contextmanager
def download_progress(label: str) -> Iterator[Show]:
    """Yield a function that takes the bytes there and the bytes in all (None while unknown)."""
    if not sys.stderr.isatty():
        yield _lines(label)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(output.clean(label), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines(label: str) -> Show:
    last = -1

    def show(done: int, total: int | None) -> None:
        nonlocal last
        step = 10 * done // total if total else done // 2**24
        if step != last:
            last = step
            of = f" of {quantities.MEMORY.format(total)}" if total else ""
            output.note(f"{label}: {quantities.MEMORY.format(done)}{of}")

    return show

"""Progress of a download on stderr: a bar in a terminal, a line every tenth of the way elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from ofa_tk import output
from ofa_toolkit.zoo.fetching import Show, progress_lines


@contextlib.contextmanager
def download_progress(label: str) -> Iterator[Show]:
    """Yield a function that takes the bytes there and the bytes in all (None while unknown)."""
    if not sys.stderr.isatty():
        yield progress_lines(label, output.note)
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
    progress = Progress(*columns, console=Console(stderr=True))

    def show(done: int, total: int | None) -> None:
        if not progress.tasks:  # most often nothing has to be fetched
            progress.start()
            progress.add_task(output.clean(label), total=None)
        progress.update(progress.task_ids[0], completed=done, total=total)

    try:
        yield show
    finally:
        progress.stop()

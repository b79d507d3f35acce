"""Progress of long work on stderr: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from ofa_tk import output
from ofa_toolkit.core.quantities import duration

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from ofa_toolkit.core.reporting import Progress

_SECONDS_BETWEEN_LINES = 30.0


class TerminalReporter:
    """The reporter of every command; a context manager that owns the bar."""

    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._start = self._last_line = 0.0
        self._first = self._last = -1
        self._what = ""

    def __enter__(self) -> TerminalReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def message(self, text: str) -> None:
        """Say something, above the bar."""
        if self._bar is not None:
            self._bar.console.print(output.clean(text))
        else:
            output.note(text)

    def progress(self, progress: Progress) -> None:
        """Show how far something is; where that is less far than before, it is something new."""
        is_other = progress.what != self._what and progress.done == self._last
        if progress.done < self._last or self._last < 0 or is_other:
            self._stop()
            self._start, self._first, self._last = time.monotonic(), progress.done, -1
        facts = "  ".join(filter(None, [progress.facts, self._left(progress)]))
        if sys.stderr.isatty():
            self._show(progress, facts)
        elif self._is_due(progress):
            self._last_line = time.monotonic()
            output.note(f"{progress.what}: {progress.done}/{progress.total}  {facts}".rstrip())
        self._last, self._what = progress.done, progress.what

    def _is_due(self, progress: Progress) -> bool:
        """At every tenth of the way, and where nothing was said for long."""
        before, now = (10 * done // max(progress.total, 1) for done in (self._last, progress.done))
        return before != now or time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES

    def _left(self, progress: Progress) -> str:
        seconds, done = progress.seconds_left, progress.done - self._first
        if seconds is None and done and progress.done < progress.total:
            seconds = (time.monotonic() - self._start) / done * (progress.total - progress.done)
        return "" if seconds is None else f"about {duration(seconds)} left"

    def _show(self, progress: Progress, facts: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}", markup=False),
                console=Console(file=sys.stderr, markup=False, highlight=False),
            )
            self._bar.add_task("", total=None, facts="")
            self._bar.start()
        self._bar.update(
            self._bar.task_ids[0],
            description=output.clean(progress.what),
            completed=progress.done,
            total=progress.total,
            facts=facts,
        )

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

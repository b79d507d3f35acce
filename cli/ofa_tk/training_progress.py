"""A training run's progress on stderr: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from ofa_tk import output

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from ofa_toolkit.training.reporting import Progress

_SECONDS_BETWEEN_LINES = 30.0


class TrainingProgress:
    """A reporter for the trainer; a context manager that owns the bar."""

    def __init__(self) -> None:
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._last_line = 0.0

    def __enter__(self) -> TrainingProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[facts]}", markup=False),
                console=Console(file=sys.stderr, markup=False, highlight=False),
            )
            self._task = self._bar.add_task("", total=None, facts="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, progress: Progress) -> None:
        """Show where the run stands."""
        left = "unknown" if progress.seconds_left is None else duration(progress.seconds_left)
        where = f"epoch {progress.epoch + 1}/{progress.num_epochs} {progress.phase}"
        facts = f"loss {progress.loss:.3f}  {progress.images_per_second:.0f} images/s  {left} left"
        if self._bar is not None:
            assert self._task is not None
            self._bar.update(
                self._task,
                description=where,
                completed=progress.step,
                total=progress.num_steps,
                facts=facts,
            )
        elif (
            time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES or progress.step == progress.num_steps
        ):
            self._last_line = time.monotonic()
            output.note(f"{where}  update {progress.step}/{progress.num_steps}  {facts}")

    def message(self, text: str) -> None:
        """Say something above the bar."""
        if self._bar is not None:
            self._bar.console.print(output.clean(text))
        else:
            output.note(text)


def duration(seconds: float) -> str:
    """A length of time in the two largest fitting units: `1 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"

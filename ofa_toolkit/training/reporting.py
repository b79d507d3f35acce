"""Progress and messages of a training run, and the protocol of their receivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands, for a progress bar.

    Attributes:
        phase: Name of the phase.
        epoch: From 0, of `num_epochs`.
        num_epochs: All phases.
        step: Updates made.
        num_steps: Updates of the whole run.
        loss: Loss of the last update's first pass.
        images_per_second: Rate in this epoch so far; each image counts once, however many subnets see it.
        seconds_left: Predicted from the phases timed so far and the MACs of the others; None at first.
    """

    phase: str
    epoch: int
    num_epochs: int
    step: int
    num_steps: int
    loss: float
    images_per_second: float
    seconds_left: float | None


class Reporter(Protocol):
    """A receiver of a run's progress and messages."""

    def progress(self, progress: Progress) -> None:
        """After every update."""
        ...

    def message(self, text: str) -> None:
        """Something a user should read."""
        ...


class Silent:
    """A reporter that says nothing."""

    def progress(self, progress: Progress) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""

"""What the reporter hears of a training run."""

from __future__ import annotations

from dataclasses import dataclass

from ofa_toolkit.core.reporting import Progress


@dataclass(frozen=True)
class TrainingProgress(Progress):
    """Updates of a run.

    Attributes:
        loss: Of the last update's first pass.
    """

    loss: float = 0.0

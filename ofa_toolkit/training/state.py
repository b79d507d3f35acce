"""Where a run stands: the plain values that a checkpoint holds beside weights."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class TrainState:
    """The position of a run and what it has met; plain values.

    Attributes:
        epoch: Of the next update.
        step_in_epoch: Of the next update.
        step: Updates made.
        begun_phase: Index of the last phase whose beginning (sorting, teacher) is done; -1 for none.
        validated_epoch: The last epoch that was validated.
        best: Best mean validation accuracy so far, percent, in the last phase.
        rate_factor: Factor on the learning rate after rollbacks.
        rollbacks: Number of rollbacks so far.
        phase_steps: Updates in each phase, for cost.
        phase_seconds: Time of each phase's updates.
        accuracies: Latest validation, percent by name.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    begun_phase: int = -1
    validated_epoch: int = -1
    best: float = -1.0
    rate_factor: float = 1.0
    rollbacks: int = 0
    phase_steps: dict[str, int] = field(default_factory=dict)
    phase_seconds: dict[str, float] = field(default_factory=dict)
    accuracies: dict[str, float] = field(default_factory=dict)

"""Notice when training has gone wrong: a loss that is no number, or one that jumps back to chance."""

from __future__ import annotations

import math

# A loss counts as chance above this share of ln(classes), and as learned below the other.
_CHANCE = 0.98
_LEARNED = 0.85


class DivergenceWatch:
    """Watches the loss of each step's first pass, within a phase.

    Args:
        num_classes: Chance is a loss of ln(num_classes).
        window: Updates the loss is averaged over.
    """

    def __init__(self, num_classes: int, window: int) -> None:
        self.chance = math.log(num_classes)
        self.window = window
        self.mean: float | None = None
        self.best = math.inf

    def reset(self) -> None:
        """A phase begins: other networks, which may start at chance, and another loss."""
        self.mean = None
        self.best = math.inf

    def check(self, losses: tuple[float, ...], label_weight: float = 1.0) -> str | None:
        """Take in the losses of an update; returns what is wrong with them, or None.

        Args:
            losses: Losses of the update's passes.
            label_weight: Sum of the weights of hard and soft labels in the first, each at ln(num_classes) by
                chance.
        """
        for loss in losses:
            if not math.isfinite(loss):
                return f"the loss is {loss}"
        loss = losses[0] / label_weight
        self.mean = loss if self.mean is None else self.mean + (loss - self.mean) / self.window
        self.best = min(self.best, self.mean)
        if self.best < _LEARNED * self.chance and self.mean > _CHANCE * self.chance:
            return (
                f"the loss rose from {self.best:.3f} to {self.mean:.3f}, that of guessing ({self.chance:.3f})"
            )
        return None

    def state_dict(self) -> dict[str, float | None]:
        """For a checkpoint."""
        return {"mean": self.mean, "best": self.best}

    def load_state_dict(self, state: dict[str, float | None]) -> None:
        """From a checkpoint."""
        self.mean = state["mean"]
        best = state["best"]
        assert best is not None
        self.best = best

"""Learning rates and DϵpS's epsilon as functions of progress; no tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from ofa_toolkit.core.config import Bounds

Schedule = Callable[[float], float]
"""From progress (0 at the start of a schedule, 1 at its end) to a learning rate."""


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate falls. Shares are of the schedule's length, so that `--epochs` scales it."""

    kind: Literal["cosine", "exponential", "constant"] = "cosine"
    "Half a cosine; multiplied by a factor every so often; or unchanged."
    learning_rate: Annotated[float, Bounds(above=0)]
    "Rate at the start, for the whole batch of all processes."
    floor: Annotated[float, Bounds(at_least=0, at_most=1)] = 0.0
    "The rate never falls below this share of the start."
    warmup_share: Annotated[float, Bounds(at_least=0, below=1)] = 0.0
    "Share of the schedule over which the rate rises linearly to its start value."
    warmup_start: Annotated[float, Bounds(at_least=0, at_most=1)] = 0.0
    "Share of the start value at which the warm-up begins."
    decay: Annotated[float, Bounds(above=0, at_most=1)] = 0.97
    "Exponential: factor of each step down."
    decay_every_share: Annotated[float, Bounds(above=0, at_most=1)] = 0.006
    "Exponential: share of the schedule between steps down (2.4 of 400 epochs is 0.006)."

    def build(self, scale: float = 1.0) -> Schedule:
        """The schedule, its rates multiplied by `scale` (for phases with a rate of their own)."""
        peak = self.learning_rate * scale
        if self.kind == "cosine":
            falling = cosine(peak, self.floor * peak)
        elif self.kind == "exponential":
            falling = exponential(peak, self.decay, self.decay_every_share, self.floor * peak)
        else:
            falling = constant(peak)
        return linear_warmup(falling, self.warmup_share, self.warmup_start * peak)


def constant(rate: float) -> Schedule:
    """The same rate throughout."""
    return lambda _progress: rate


def cosine(start: float, floor: float = 0.0) -> Schedule:
    """Half a cosine from `start` to 0, cut off at `floor` (Loshchilov and Hutter 2017, one cycle).

    The floor cuts, as in the DϵpS reference; it does not lift the whole curve.
    """
    return lambda progress: max(floor, 0.5 * start * (1 + math.cos(math.pi * min(progress, 1.0))))


def exponential(start: float, factor: float, every: float, floor: float) -> Schedule:
    """`start` times `factor` after each `every` of progress, constant once `floor` is reached.

    BigNAS (Yu et al. 2020), section 3: "exponentially decaying with constant ending".
    """

    def rate(progress: float) -> float:
        # A hair is added so that 3 * (1/3) counts as one whole.
        return max(floor, start * factor ** math.floor(progress / every + 1e-9))

    return rate


def linear_warmup(schedule: Schedule, share: float, start: float) -> Schedule:
    """Rise linearly from `start` to the schedule's first rate over `share`, then run the schedule."""
    if share == 0:
        return schedule
    peak = schedule(0.0)

    def rate(progress: float) -> float:
        if progress < share:
            return start + (peak - start) * progress / share
        return schedule((progress - share) / (1 - share))

    return rate


def constant_increment(start: float, num_steps: int) -> Callable[[int], float]:
    """Epsilon by DϵpS, section 4.2: `start`, then more by a constant each step, 1 from `num_steps` on."""
    return lambda step: 1.0 if step >= num_steps else start + (1.0 - start) * step / num_steps


def effective_rate_ramp(
    rate: Callable[[int], float], target_rate: float, num_steps: int
) -> Callable[[int], float]:
    """Epsilon as the DϵpS reference code has it: epsilon times the learning rate rises linearly.

    Args:
        rate: Learning rate at a step of the ramp.
        target_rate: Rate that epsilon times the rate approaches: that of one epoch after the ramp.
        num_steps: Length of the ramp; epsilon is 1 from there on.
    """
    # Weights move by epsilon times the rate. The rate falls during the ramp, so an epsilon that rises
    # linearly would bend what they feel; dividing by the present rate makes the product the straight line.
    # The line ends where the schedule itself will be, so that setting epsilon to 1 is no jump.
    return lambda step: 1.0 if step >= num_steps else target_rate * (step + 1) / num_steps / rate(step)

"""What a run costs: device-hours per phase, measured while it runs and predicted before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.rng import generator
from ofa_toolkit.spaces import SearchSpace, lower
from ofa_toolkit.training.algorithm import Algorithm, Pass, Phase, Position

_SAMPLED_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class PhaseCost:
    """Cost of one phase.

    Attributes:
        name: Name of the phase.
        steps: Updates.
        seconds_per_step: Mean time of an update, waiting for images included.
        device_hours: Time of the updates, those that rollbacks undid included, times the number of devices.
        money: Price of the device-hours, or None where no price was given.
        processor_hours: Processor time of the updates over all threads and processes; None on a GPU.
    """

    name: str
    steps: int
    seconds_per_step: float
    device_hours: float
    money: float | None
    processor_hours: float | None = None


def phase_cost(
    name: str, steps: int, seconds_per_step: float, *, num_devices: int, price_per_hour: float | None
) -> PhaseCost:
    """Turn a time per update into device-hours and money."""
    seconds = steps * seconds_per_step
    return measured_cost(name, steps, seconds, seconds * num_devices, price_per_hour=price_per_hour)


def measured_cost(
    name: str,
    steps: int,
    seconds: float,
    device_seconds: float,
    *,
    price_per_hour: float | None,
    processor_seconds: float | None = None,
) -> PhaseCost:
    """The cost of updates that took `seconds` in all, `device_seconds` over all devices."""
    hours = device_seconds / 3600
    return PhaseCost(
        name=name,
        steps=steps,
        seconds_per_step=seconds / max(1, steps),
        device_hours=hours,
        money=None if price_per_hour is None else hours * price_per_hour,
        processor_hours=None if processor_seconds is None else processor_seconds / 3600,
    )


def macs_per_image(algorithm: Algorithm, phase: Phase, steps_per_epoch: int) -> float:
    """Forward multiply-accumulates per image of an average step of a phase, all passes together.

    Random subnets are averaged over a fixed sample of steps. Backward passes cost about twice the forward
    ones; as that holds for every pass, ratios between phases need not know it.
    """
    total = 0.0
    for index in range(_SAMPLED_STEPS):
        stream = generator(0, "cost", phase.name, index)
        resolution = int(stream.choice(phase.space.resolutions))
        position = Position(
            epoch=phase.first_epoch, step=0, steps_per_epoch=steps_per_epoch, resolution=resolution
        )
        total += macs_of_passes(phase.space, algorithm.plan(phase, position, stream))
    return total / _SAMPLED_STEPS


def macs_of_passes(space: SearchSpace, passes: Sequence[Pass]) -> int:
    """Forward multiply-accumulates per image of a step."""
    return sum(count_macs(lower(space, item.subnet)) for item in passes)


class TimeLeft:
    """Predicts the time to the end from the phases already timed and the MACs of the others."""

    def __init__(self, algorithm: Algorithm, steps_per_epoch: int) -> None:
        self._steps = {p.name: p.epochs * steps_per_epoch for p in algorithm.phases}
        self._macs = {p.name: macs_per_image(algorithm, p, steps_per_epoch) for p in algorithm.phases}

    def predict(self, done: Mapping[str, int], seconds: Mapping[str, float]) -> float | None:
        """Seconds left, or None before anything was timed.

        Args:
            done: Updates made in each phase.
            seconds: Time they took.
        """
        timed = [name for name in self._steps if done.get(name) and seconds.get(name)]
        if not timed:
            return None
        per_mac = sum(seconds[n] for n in timed) / sum(done[n] * self._macs[n] for n in timed)
        left = 0.0
        for name, steps in self._steps.items():
            each = seconds[name] / done[name] if name in timed else per_mac * self._macs[name]
            left += (steps - done.get(name, 0)) * each
        return left


def total(costs: Sequence[PhaseCost]) -> PhaseCost:
    """The sum over phases."""
    steps = sum(cost.steps for cost in costs)
    money = [cost.money for cost in costs if cost.money is not None]
    worked = [cost.processor_hours for cost in costs if cost.processor_hours is not None]
    return PhaseCost(
        name="total",
        steps=steps,
        seconds_per_step=sum(c.steps * c.seconds_per_step for c in costs) / max(1, steps),
        device_hours=sum(cost.device_hours for cost in costs),
        money=sum(money) if money else None,
        processor_hours=sum(worked) if worked else None,
    )

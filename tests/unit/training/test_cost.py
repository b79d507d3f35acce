"""Device-hours, money and time left, by numbers made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.training.algorithm import Algorithm, Pass, Phase, Position
from ofa_toolkit.training.cost import TimeLeft, macs_per_image, measured_cost, phase_cost, total
from ofa_toolkit.training.schedules import constant

SPACE = get_space("mobilenet-v3-compact").with_resolutions((32,))
LARGE, SMALL = (count_macs(lower(SPACE, subnet)) for subnet in (SPACE.largest(), SPACE.smallest()))


def _phase(name: str, first_epoch: int, epochs: int) -> Phase:
    return Phase(
        name=name,
        first_epoch=first_epoch,
        epochs=epochs,
        space=SPACE,
        schedule=constant(0.1),
        schedule_start=0,
        schedule_epochs=5,
    )


class _TwoPhases(Algorithm):
    """The largest network alone for two epochs, then with the smallest for three."""

    phases = (_phase("alone", 0, 2), _phase("both", 2, 3))

    def plan(self, phase: Phase, position: Position, generator: np.random.Generator) -> Sequence[Pass]:
        del position, generator
        largest = Pass(role="largest", subnet=SPACE.largest())
        return (
            [largest] if phase.name == "alone" else [largest, Pass(role="smallest", subnet=SPACE.smallest())]
        )


def test_macs_of_a_step_are_those_of_its_passes() -> None:
    alone, both = (macs_per_image(_TwoPhases(), phase, 10) for phase in _TwoPhases.phases)
    assert (alone, both) == (LARGE, LARGE + SMALL)


def test_time_left_of_untimed_phases_follows_their_macs() -> None:
    left = TimeLeft(_TwoPhases(), steps_per_epoch=10)
    for done, seconds in (({}, {}), ({"alone": 5}, {"alone": 0.0}), ({"alone": 0}, {"alone": 1.0})):
        assert left.predict(done, seconds) is None
    # 5 of 20 updates took 10 s; 15 are left, and 30 that cost more.
    ratio = (LARGE + SMALL) / LARGE
    assert left.predict({"alone": 5}, {"alone": 10.0}) == pytest.approx(15 * 2 + 30 * 2 * ratio)
    # A phase that was timed goes by its own time, whatever its MACs.
    done, seconds = {"alone": 20, "both": 10}, {"alone": 40.0, "both": 70.0}
    assert left.predict(done, seconds) == pytest.approx(20 * 7)
    # Only the second was timed, as after a resume: the first goes by MACs.
    assert left.predict({"both": 10}, {"both": 70.0}) == pytest.approx(20 * 7 + 20 * 7 / ratio)


def test_costs_add_up() -> None:
    first = phase_cost("a", 100, 1.8, num_devices=4, price_per_hour=2.5)
    assert first.seconds_per_step == 1.8
    assert first.device_hours == pytest.approx(100 * 1.8 * 4 / 3600)
    assert first.money == pytest.approx(2.5 * 0.2)
    second = measured_cost("b", 300, 60.0, 360.0, price_per_hour=None, processor_seconds=7200.0)
    assert (second.seconds_per_step, second.device_hours, second.money) == (0.2, 0.1, None)
    assert second.processor_hours == 2.0
    both = total([first, second])
    assert both.steps == 400
    assert both.device_hours == pytest.approx(0.3)
    assert both.money == first.money
    assert both.seconds_per_step == pytest.approx((100 * 1.8 + 300 * 0.2) / 400)
    assert both.processor_hours == 2.0
    assert measured_cost("none", 0, 0.0, 0.0, price_per_hour=1.0).seconds_per_step == 0

"""The runtime of a pack: which network it takes under which load, and how it comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ofa_toolkit.export.kit.adaptive import PATIENCE, Controller, Limit, _arguments

TIMES = [2.0, 4.0, 8.0]


def drive(controller: Controller, slowdowns: list[float]) -> list[int]:
    """Networks chosen while the machine is so many times slower than at the start."""
    chosen = []
    for slowdown in slowdowns:
        chosen.append(controller.choose())
        controller.tell(TIMES[controller.current] * slowdown)
    return chosen


def test_the_largest_that_fits_an_idle_machine() -> None:
    budgets = (1.0, 2.3, 4.6, 8.8, 9.0, 100.0)
    assert [Controller(TIMES, budget).current for budget in budgets] == [0, 0, 1, 1, 2, 2]


def test_late_at_once_and_back_with_patience() -> None:
    controller = Controller(TIMES, 10.0)
    assert drive(controller, [1.0, 3.0, 3.0, 3.0]) == [2, 2, 2, 0]
    # One quick image is no reason to go back; a run of them is, and only as far as fits.
    recovery = drive(controller, [1.0] * 60)
    assert recovery[:PATIENCE] == [0] * PATIENCE
    assert recovery[-1] == 2
    assert recovery == sorted(recovery)


def test_a_network_that_fails_again_and_again_is_tried_less_and_less() -> None:
    """A load that shows on larger networks alone, as when a scheduler interrupts what takes long."""
    controller, tried = Controller(TIMES, 10.0), []
    for image in range(1200):
        if controller.choose() == 2:
            tried.append(image)
        controller.tell(TIMES[controller.current] * (3.0 if controller.current == 2 else 1.0))
    assert len([image for image in tried if image < 300]) > len([image for image in tried if image >= 900])
    assert len(tried) < 40
    assert drive(controller, [1.0] * 3000)[-1] == 2


def test_one_interrupted_image_is_no_load() -> None:
    controller = Controller(TIMES, 10.0)
    assert drive(controller, [1.0, 1.0, 1.0, 30.0, 1.0, 1.0, 1.0, 30.0, 1.0, 1.0]) == [2] * 10


def test_alternating_load_does_not_make_it_switch_back_and_forth() -> None:
    controller = Controller(TIMES, 10.0)
    chosen = drive(controller, [1.0, 3.0] * 40)
    assert np.count_nonzero(np.diff(chosen)) <= 2


def test_hot_boards_step_down_and_cool_ones_up(tmp_path: Path) -> None:
    sensor = tmp_path / "temp"
    controller = Controller(TIMES, 100.0, [Limit(str(sensor), 80.0)])
    sensor.write_text("70000\n")
    assert controller.choose() == 2
    sensor.write_text("81000\n")
    assert [controller.choose() for _ in range(3)] == [1, 0, 0]
    assert controller.reason == "limit"
    sensor.write_text("78000\n")  # between 95 and 100 % nothing changes
    assert {controller.choose() for _ in range(2 * PATIENCE)} == {0}
    sensor.write_text("60000\n")
    assert [controller.choose() for _ in range(3 * PATIENCE)][-1] == 2


@pytest.mark.parametrize(
    ("words", "budget_ms"),
    [(["--deadline", "15ms"], 15.0), (["--deadline", "0.5s"], 500.0), (["--target-fps", "50"], 20.0)],
)
def test_budgets(words: list[str], budget_ms: float) -> None:
    assert _arguments([*words, "a.png"]).budget_ms == budget_ms


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--deadline", "soon"],
        ["--deadline", "1ms", "--target-fps", "3"],
        ["--deadline", "1ms", "--power", "x"],
    ],
)
def test_what_is_no_budget_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _arguments([*words, "a.png"])
    assert "error:" in capsys.readouterr().err

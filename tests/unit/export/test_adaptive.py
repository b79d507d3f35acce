"""The runtime of a pack: which network it takes under which load, and how it comes back."""

from __future__ import annotations

import random
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
    assert drive(controller, [1.0, 3.0, 3.0, 3.0, 3.0]) == [2, 2, 2, 2, 0]
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


def crowd(controller: Controller, shares: list[float], images: int, seed: int = 0) -> list[int]:
    """Networks chosen where a share of the images of each waits for long, whatever its time."""
    draw, chosen = random.Random(seed), []
    for _ in range(images):
        index = controller.choose()
        chosen.append(index)
        controller.tell(TIMES[index], waited_ms=50.0 if draw.random() < shares[index] else 0.0)
    return chosen


def test_images_that_wait_are_late_though_no_network_is_slow() -> None:
    controller = Controller(TIMES, 10.0)
    chosen = crowd(controller, [0.0, 0.01, 0.7], 3000)
    assert chosen[:40].count(2) < 30  # a sudden load is noticed within some images
    assert np.mean(np.array(chosen[100:]) == 1) > 0.8
    # The load is over: all fit again.
    assert crowd(controller, [0.0, 0.0, 0.0], 4000)[-1] == 2


def test_a_smaller_network_is_not_kept_where_it_is_late_as_often() -> None:
    chosen = crowd(Controller(TIMES, 10.0), [0.2, 0.2, 0.2], 8000)
    assert np.mean(np.array(chosen) == 2) > 0.6
    assert chosen.count(0) < 0.1 * len(chosen)
    # Tried again, but after longer and longer times.
    tries = np.flatnonzero(np.diff(chosen) < 0)
    assert len(tries) >= 2
    assert np.diff(tries).max() > 1.5 * np.diff(tries).min()


def test_a_network_late_more_often_than_allowed_is_left_in_the_long_run_only() -> None:
    """7 % late where 5 % may be: quiet times before make up for hundreds of images, not for thousands."""
    shares = [0.0, 0.01, 0.07]
    chosen = np.array(crowd(Controller(TIMES, 10.0), shares, 20000))
    assert np.all(chosen[:500] == 2)
    assert 0.2 < np.mean(chosen[4000:] == 2) < 0.9
    assert np.array(shares)[chosen[4000:]].mean() < 0.052
    lenient = Controller(TIMES, 10.0, in_time=0.90)
    assert crowd(lenient, shares, 6000) == [2] * 6000


def test_images_passed_over_are_late() -> None:
    controller = Controller(TIMES, 10.0)
    for _ in range(8):
        controller.choose()
        controller.tell(TIMES[2], missed=2)
    assert controller.choose() == 1
    assert controller.reason == "often late"


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
        ["--deadline", "1ms", "--in-time", "100"],
    ],
)
def test_what_is_no_budget_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _arguments([*words, "a.png"])
    assert "error:" in capsys.readouterr().err

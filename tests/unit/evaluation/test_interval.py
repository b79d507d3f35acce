"""Intervals around predicted accuracies, by numbers that can be checked by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.evaluation.predictor.card import ChosenFacts, IntervalFacts
from ofa_toolkit.evaluation.predictor.interval import CONFIDENCES, IntervalModel, score_quantiles

FACTS = IntervalFacts(
    noise_points=3.0,
    confidences=(0.5, 0.9),
    inside=(1.0, 2.0),
    outside=(2.0, 4.0),
    unmeasured_points=(6.0, 12.0),
    lowest_percent=60.0,
    highest_percent=80.0,
    highest_surprisal=7.0,
)
CHOSEN = ChosenFacts(how="by hand", num_subnets=9, offset_points=0.0, quantiles=(2.5, 3.0))
NO, YES = np.array([False]), np.array([True])


def _half(
    spread: float, *, measured: bool = True, far: bool = False, level: float = 0.9, chosen: bool = False
) -> float:
    facts = dataclasses.replace(FACTS, chosen=CHOSEN) if chosen else FACTS
    flags = [YES if flag else NO for flag in (measured, far)]
    (half,) = IntervalModel(facts).half_width(np.array([spread]), *flags, level, is_chosen=chosen)
    return float(half)


def test_half_widths_are_quantiles_times_the_scale() -> None:
    # Spread and noise join as the sides of a right angle: 3, 4, 5.
    assert _half(4.0) == pytest.approx(2 * 5)
    assert _half(4.0, far=True) == pytest.approx(4 * 5)
    assert _half(0.0, level=0.5) == pytest.approx(1 * 3)
    assert _half(4.0, level=0.7) == pytest.approx(1.5 * 5)
    assert _half(4.0, measured=False, level=0.5) == pytest.approx(np.hypot(1 * 5, 6))


def test_chosen_subnets_have_their_own_quantiles_but_never_less_than_unlike_ones() -> None:
    assert _half(4.0, chosen=True) == pytest.approx(3 * 5)
    assert _half(4.0, chosen=True, far=True) == pytest.approx(4 * 5)
    assert _half(4.0, chosen=True, far=True, level=0.5) == pytest.approx(2.5 * 5)


def test_subnets_at_the_bounds_are_like_the_fitted_ones() -> None:
    inside = IntervalModel(FACTS).is_inside
    accuracies = np.array([60.0, 59.99, 80.0, 80.01, 70.0, 70.0, 70.0])
    surprisals = np.array([1.0, 1.0, 1.0, 1.0, 7.0, 7.01, 1.0])
    assert inside(accuracies, surprisals).tolist() == [True, False, True, False, True, False, True]


@pytest.mark.parametrize("level", [0.49, 0.91])
def test_levels_without_quantiles_are_refused(level: float) -> None:
    with pytest.raises(ConfigError, match=r"support 0\.5 to 0\.9"):
        _half(1.0, level=level)


def test_quantiles_of_scores_are_corrected_for_the_number_of_rows() -> None:
    errors = np.array([-3.0, 6.0, 9.0, -12.0, 15.0, 18.0, 21.0, 24.0, 27.0])
    # Nine rows of scale 3 score 1 to 9; ten gaps, so that level .5 is at 5/9 of the way from 1 to 9.
    found = score_quantiles(errors, np.zeros(9), 3.0)
    assert found == (6.0, 7.0, 8.0, 9.0, 9.0, 9.0)
    assert score_quantiles(np.array([-4.0]), np.array([4.0]), 3.0) == (0.8,) * len(CONFIDENCES)

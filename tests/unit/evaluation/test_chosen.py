"""Predictions of subnets that a search chose: their error is found by searching where the truth is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ofa_toolkit.core.rng import generator
from ofa_toolkit.evaluation.predictor.assessment import RANDOM, HeldOut
from ofa_toolkit.evaluation.predictor.card import ChosenFacts
from ofa_toolkit.evaluation.predictor.chosen import (
    chosen_facts,
    facts_of_answers,
    gain_seen,
    largest_row,
    nested_searches,
)
from ofa_toolkit.evaluation.predictor.file import read_predictor, write_predictor
from ofa_toolkit.evaluation.predictor.interval import CONFIDENCES
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor
from ofa_toolkit.spaces import get_space, sample_population
from ofa_toolkit.zoo.supernet import load_accuracy_predictor

SPACE = get_space("ofa-mobilenet-v3-w1.2")


def measured(seed: int, num_rows: int = 300, error: float = 0.5) -> tuple[HeldOut, np.ndarray]:
    """Subnets whose accuracy follows their cost, and predictions with independent errors."""
    draw = generator(seed, "chosen")
    costs = np.exp(draw.uniform(1, 4, num_rows))
    truth = 80 + 3 * np.log(costs) + draw.normal(0, 0.2, num_rows)
    predicted = truth + draw.normal(0, error, num_rows)
    rows = draw.permutation(num_rows)
    return HeldOut(RANDOM, rows, predicted[rows], np.full(num_rows, 0.1), truth[rows]), costs


def test_searches_choose_what_is_overrated_within_their_budget() -> None:
    held, costs = measured(0)
    chosen = nested_searches(held, costs, generator(1, "searches"))
    assert len(np.unique(chosen)) > 20
    assert held.errors[chosen].mean() > 0.4
    assert abs(held.errors.mean()) < 0.1


def test_the_interval_holds_for_the_answers_of_other_searches() -> None:
    covered = without = answers = 0
    for seed in range(8):
        held, costs = measured(seed)
        facts = chosen_facts(held, costs, generator(seed), noise_points=0.4, ceiling_percent=None)
        assert facts is not None
        half = np.hypot(0.4, 0.1) * facts.quantiles[4]
        other, other_costs = measured(100 + seed)
        for position in np.unique(nested_searches(other, other_costs, generator(7, "s"), num_searches=20)):
            error = other.errors[position]
            covered += abs(error - facts.offset_points) <= half
            without += abs(error) <= half
            answers += 1
    assert covered >= 0.85 * answers > without


def test_too_few_measured_subnets_tell_nothing() -> None:
    held, costs = measured(0, num_rows=12)
    assert chosen_facts(held, costs, generator(0), noise_points=0.4, ceiling_percent=None) is None


def test_answers_that_measured_better_than_predicted_promise_nothing() -> None:
    """Their mean error stays in the interval instead."""
    held, _ = measured(0)
    errors = held.errors - held.errors.mean() - 2.0
    under = dataclasses.replace(held, predicted=held.measured + errors)
    facts = facts_of_answers(
        under, noise_points=0.4, largest_predicted=90.0, largest_measured=91.0, how="made up"
    )
    assert (facts.offset_points, facts.num_subnets) == (0, 300)
    half = np.hypot(0.4, 0.1) * np.array(facts.quantiles)
    assert [(np.abs(errors) <= most).mean() for most in half] == pytest.approx(CONFIDENCES, abs=0.01)
    over = dataclasses.replace(held, predicted=held.measured - errors)
    facts = facts_of_answers(
        over, noise_points=0.4, largest_predicted=90.0, largest_measured=91.0, how="made up"
    )
    assert facts.offset_points == pytest.approx(2)
    # The ten that are predicted best, of 300, gained so much over the largest.
    leaders = np.argsort(-over.predicted)[:10]
    assert facts.ceiling_percent == pytest.approx(90 + max(0, over.measured[leaders].mean() - 91))


def test_the_gain_seen_is_that_of_the_leaders_not_of_the_luckiest() -> None:
    held, _ = measured(0)
    best = float(np.sort(held.measured)[-10:].mean())
    assert 0 < gain_seen(held, best - 1.0) < 1.2
    assert gain_seen(held, 99.9) == 0
    population = np.array([[0, 1], [2, 3]])
    assert (largest_row(population, [2, 3]), largest_row(population, [9, 9])) == (1, None)


@pytest.fixture(scope="module")
def before() -> AccuracyPredictor:
    """A file of before: it knows nothing of searched subnets."""
    predictor = load_accuracy_predictor(SPACE.name)
    assert predictor.card.interval.chosen is None
    return predictor


def test_predictions_of_searched_subnets_are_corrected_and_bounded(
    before: AccuracyPredictor, tmp_path: Path
) -> None:
    facts = ChosenFacts(
        how="made up",
        num_subnets=20,
        offset_points=0.5,
        quantiles=tuple(np.linspace(0.5, 1.5, len(before.card.interval.confidences))),
        ceiling_percent=76.0,
    )
    interval = dataclasses.replace(before.card.interval, chosen=facts)
    card = dataclasses.replace(before.card, interval=interval)
    write_predictor(tmp_path / "p.safetensors", dataclasses.replace(before, card=card))
    predictor = read_predictor(tmp_path / "p.safetensors")
    assert predictor.card.interval.chosen == facts
    space = SPACE.with_resolutions(before.card.resolutions)
    population = sample_population(space, 50, generator(0, "population"))
    bound, plain = predictor.bind(space), before.bind(space)
    raw = plain.predict(population)
    np.testing.assert_allclose(bound.predict(population), raw)
    np.testing.assert_allclose(bound.predict_chosen(population), np.minimum(raw - 0.5, 76.0))
    assert (raw - 0.5 > 76.0).any()
    low, high = bound.interval(population, 0.9, is_chosen=True)
    np.testing.assert_allclose((low + high) / 2, bound.predict_chosen(population))
    assert bound.is_calibrated_for_search
    # Without such knowledge nothing changes, and that is said.
    assert not plain.is_calibrated_for_search
    np.testing.assert_allclose(plain.predict_chosen(population), raw)
    for one, other in zip(
        plain.interval(population, 0.9, is_chosen=True), plain.interval(population, 0.9), strict=True
    ):
        np.testing.assert_allclose(one, other)

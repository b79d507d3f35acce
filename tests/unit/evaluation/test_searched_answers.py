"""Answers of searches by a predictor, and what their measured accuracies tell it."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.evaluation.predictor.card import PredictorCard
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.evaluation.predictor.fit import fit_predictor
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor, BoundAccuracy
from ofa_toolkit.evaluation.stratified import stratified_population
from ofa_toolkit.pipelines.evaluation.searched_answers import find_answers, with_answers
from ofa_toolkit.spaces import Encoding, get_space, lower, restrict
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.space import SearchSpace

COMPACT = get_space("mobilenet-v3-compact")
QUICK = EnsembleConfig(num_members=2, hidden=(4,), num_steps=30)


@functools.cache
def fitted(space: SearchSpace, num_subnets: int) -> tuple[BoundAccuracy, Population]:
    """A predictor fitted to subnets whose accuracy rises with their cost, and those subnets."""
    population = stratified_population(space, num_subnets, seed=0)
    macs = np.array([count_macs(lower(space, subnet)) for subnet in Encoding(space).decode(population)])
    noise = np.random.default_rng(0).normal(0, 0.3, len(macs))
    parts = fit_predictor(
        space, population, 50 + 10 * np.log(macs / macs.min()) + noise, num_images=1000, config=QUICK
    )
    card = PredictorCard(
        space=space.name,
        space_identity=space.identity,
        supernet="x",
        dataset="y",
        resolutions=space.resolutions,
        measured_resolutions=space.resolutions,
        provenance="fitted",
        source="made up",
        method="made up",
        num_subnets=len(population),
        errors=parts.errors,
        interval=parts.interval,
        trend=parts.trend,
    )
    predictor = AccuracyPredictor(
        card=card, choices=parts.choices, members=parts.members, surprisal=parts.surprisal
    )
    return predictor.bind(space), population


def test_answers_are_the_best_within_budgets_over_the_whole_range() -> None:
    accuracy, population = fitted(COMPACT, 80)
    answers = find_answers(accuracy, population, seed=0)
    assert len(np.unique(answers, axis=0)) == len(answers) == 10  # an eighth of 80
    assert not {row.tobytes() for row in answers} & {row.tobytes() for row in population}
    macs = np.array([count_macs(lower(COMPACT, subnet)) for subnet in Encoding(COMPACT).decode(answers)])
    ends = [count_macs(lower(COMPACT, subnet)) for subnet in (COMPACT.smallest(), COMPACT.largest())]
    thirds = np.digitize(np.log(macs), np.linspace(*np.log(ends), 4)[1:-1])
    assert np.bincount(thirds, minlength=3).min() >= 2
    # No fitted subnet of at most its cost is predicted better than an answer.
    costs = np.array([count_macs(lower(COMPACT, subnet)) for subnet in Encoding(COMPACT).decode(population)])
    predicted = accuracy.predict(population)
    for cost, best in zip(macs, accuracy.predict(answers), strict=True):
        assert best >= predicted[costs <= cost].max() - 1e-3
    assert (find_answers(accuracy, population, seed=0) == answers).all()


@pytest.mark.parametrize(("num_fitted", "expected"), [(30, 8), (300, 24)])
def test_at_least_eight_and_at_most_two_dozen(num_fitted: int, expected: int) -> None:
    accuracy, _ = fitted(COMPACT, 80)
    population = stratified_population(COMPACT, num_fitted, seed=1)
    assert len(find_answers(accuracy, population, seed=0)) == expected


def test_a_space_with_too_few_subnets_keeps_what_nested_searches_tell() -> None:
    space = restrict(COMPACT, expand_ratios=[6], kernel_sizes=[3])
    space = space.with_resolutions(space.resolutions[-1:])
    accuracy, population = fitted(space, 5000)
    answers = find_answers(accuracy, population, seed=0)
    assert len(population) == space.num_architectures
    assert answers.shape == (0, population.shape[1])
    assert with_answers(accuracy, answers, {}) is accuracy.predictor


def test_the_mean_error_of_the_answers_is_taken_off_and_the_rest_is_the_interval() -> None:
    accuracy, population = fitted(COMPACT, 80)
    answers = find_answers(accuracy, population, seed=0)
    subnets, predicted = Encoding(COMPACT).decode(answers), accuracy.predict(answers)
    measured = dict(zip(subnets, predicted - 2 - np.linspace(-0.5, 0.5, 10), strict=True))
    largest = float(accuracy.predict(Encoding(COMPACT).encode([COMPACT.largest()]))[0])
    predictor = with_answers(accuracy, answers, {**measured, COMPACT.largest(): largest - 5})
    facts, before = predictor.card.interval.chosen, accuracy.predictor.card
    assert facts is not None
    assert facts.offset_points == pytest.approx(2)
    # The three that are predicted best measure about two points lower than predicted, the largest five.
    leaders = np.argsort(-predicted)[:3]
    gain = np.mean([measured[subnets[row]] for row in leaders]) - (largest - 5)
    assert 0 < gain < 3
    assert facts.ceiling_percent == pytest.approx(largest + gain)
    bound = predictor.bind(COMPACT)
    chosen = bound.predict_chosen(answers)
    assert chosen == pytest.approx(np.minimum(predicted - 2, facts.ceiling_percent))
    low, high = bound.interval(answers, 0.9, is_chosen=True)
    assert all(a < measured[s] < b for a, s, b in zip(low, subnets, high, strict=True))
    told = predictor.card.errors[-1]
    assert (told.split, told.num_subnets, told.bias_points) == ("answers of searches", 10, pytest.approx(2))
    # All else is as it was.
    interval = dataclasses.replace(predictor.card.interval, chosen=before.interval.chosen)
    assert dataclasses.replace(predictor.card, errors=before.errors, interval=interval) == before

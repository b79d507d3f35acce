"""What is known of a predictor fitted to forty subnets, each figure by fits of its own to the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.rank_correlation import spearman
from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.core.rng import generator
from ofa_toolkit.evaluation.predictor.assessment import RANDOM, HeldOut, random_folds
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.chosen import chosen_facts, gain_seen
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.evaluation.predictor.fit import FittedPredictor, fit_predictor
from ofa_toolkit.evaluation.predictor.interval import score_quantiles
from ofa_toolkit.evaluation.predictor.training import fit_ensemble, predict_members
from ofa_toolkit.evaluation.predictor.trend import fit_trend, share_of_deviations, trend_percent
from ofa_toolkit.evaluation.stratified import stratified_population
from ofa_toolkit.spaces import Encoding, get_space, restrict
from tests.heard import Heard

SPACE = restrict(get_space("mobilenet-v3-compact"), expand_ratios=[3, 6]).with_resolutions((24, 32))
CHOICES = Choices.of(SPACE, (24, 32))
QUICK = EnsembleConfig(num_members=2, hidden=(4,), num_steps=30, learning_rate=0.05)
COUNT, NUM_IMAGES, SEED = 40, 500, 3
POPULATION = stratified_population(SPACE, COUNT, seed=0)
MACS = PopulationComplexity(SPACE).macs(POPULATION)
ROWS = CHOICES.one_hot(SPACE, POPULATION)
TOP1 = (
    50 + 10 * np.log(MACS / MACS.min()) + 2 * ROWS @ np.random.default_rng(0).normal(size=len(CHOICES.rows))
)
FOLDS = random_folds(COUNT, 5, generator(SEED, "predictor", "folds"))

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def fitted() -> FittedPredictor:
    return fit_predictor(SPACE, POPULATION, TOP1, num_images=NUM_IMAGES, seed=SEED, config=QUICK)


def test_every_fit_is_told() -> None:
    heard = Heard()
    fit_predictor(SPACE, POPULATION, TOP1, num_images=NUM_IMAGES, config=QUICK, reporter=heard)
    # Five folds, the best fifth, all, and two points of the learning curve.
    assert heard.steps == [Progress("Fitting the accuracy predictor", done, 9) for done in range(10)]


def others(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return np.setdiff1d(np.arange(COUNT), rows)


def told(train: npt.NDArray[np.intp], test: npt.NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
    """By a fit to some rows of others: the trend, and the mean and the spread of deviations from it."""
    trend = fit_trend(MACS[train], TOP1[train], NUM_IMAGES)
    targets = TOP1[train] - trend_percent(trend, MACS[train])
    members = fit_ensemble(CHOICES, ROWS[train], targets - targets.mean(), config=QUICK, seed=SEED)
    deviations = predict_members(members, ROWS[test])
    return trend_percent(trend, MACS[test]), deviations.mean(axis=1), deviations.std(axis=1)


@pytest.fixture(scope="module")
def left_out() -> tuple[Floats, Floats, Floats]:
    """What each row is told to be by a fit without its fold."""
    found = np.zeros((3, COUNT))
    for fold in FOLDS:
        found[:, fold] = told(others(fold), fold)
    by_cost, mean, spread = found
    return by_cost, mean, spread


def counting_error(by_cost: Floats) -> float:
    """Of a share counted on so many images, in points."""
    return float(np.sqrt((by_cost * (100 - by_cost)).mean() / NUM_IMAGES))


def test_numbers_of_subnets_and_the_range_of_what_was_fitted(fitted: FittedPredictor) -> None:
    inside, outside = fitted.errors
    assert (inside.split, inside.num_subnets) == ("random", 40)
    assert (outside.split, outside.num_subnets) == ("above the 80th percentile", 8)
    deviations = predict_members(fitted.members, ROWS)
    assert fitted.trend.lowest_points == pytest.approx(deviations.min(), abs=1e-5)
    assert fitted.trend.highest_points == pytest.approx(deviations.max(), abs=1e-5)
    assert (fitted.trend.lowest_macs, fitted.trend.highest_macs) == (MACS.min(), MACS.max())
    assert fitted.interval.num_images == NUM_IMAGES
    assert fitted.interval.lowest_percent == pytest.approx(np.percentile(TOP1, 1))
    rarity = ROWS @ fitted.surprisal
    assert fitted.interval.highest_surprisal == pytest.approx(np.percentile(rarity, 95), rel=1e-5)


def test_deviations_are_believed_as_far_as_all_subnets_tell_while_left_out(
    fitted: FittedPredictor, left_out: tuple[Floats, Floats, Floats]
) -> None:
    by_cost, mean, _ = left_out
    share = share_of_deviations(mean, TOP1 - by_cost, counting_error(by_cost))
    assert 0.1 < share < 1
    assert fitted.deviations_share == pytest.approx(share, abs=1e-4)
    whole = told(np.arange(COUNT), np.arange(COUNT))[1]
    assert predict_members(fitted.members, ROWS).mean(axis=1) == pytest.approx(share * whole, abs=1e-3)


def test_a_fold_s_errors_are_those_with_the_share_that_the_others_tell(
    fitted: FittedPredictor, left_out: tuple[Floats, Floats, Floats]
) -> None:
    by_cost, mean, spread = left_out
    shares = np.zeros(COUNT)
    for fold in FOLDS:
        rest = others(fold)
        shares[fold] = share_of_deviations(mean[rest], (TOP1 - by_cost)[rest], counting_error(by_cost))
    errors = by_cost + shares * mean - TOP1
    inside, noise = fitted.errors[0], fitted.interval.noise_points
    assert inside.mae_points == pytest.approx(np.abs(errors).mean(), abs=1e-3)
    assert inside.bias_points == pytest.approx(errors.mean(), abs=1e-3)
    assert noise == pytest.approx(np.abs(errors).mean(), abs=1e-3)
    scores = score_quantiles(errors, shares * spread, noise)
    assert fitted.interval.inside == pytest.approx(scores, rel=1e-2)
    # What searches choose, and the most that is promised of it: the largest's, and what the best gained.
    rows = np.concatenate(FOLDS)
    held = HeldOut(RANDOM, rows, (TOP1 + errors)[rows], (shares * spread)[rows], TOP1[rows])
    largest = int((Encoding(SPACE).encode([SPACE.largest()])[0] == POPULATION).all(axis=1).argmax())
    trend = fit_trend(MACS, TOP1, NUM_IMAGES)
    predicted = trend_percent(trend, MACS) + predict_members(fitted.members, ROWS).mean(axis=1)
    ceiling = min(100.0, predicted[largest] + gain_seen(held, TOP1[largest]))
    facts = chosen_facts(
        held, MACS, generator(SEED, "predictor", "searches"), noise_points=noise, ceiling_percent=ceiling
    )
    assert facts is not None
    assert fitted.interval.chosen is not None
    assert fitted.interval.chosen.ceiling_percent == pytest.approx(ceiling, abs=1e-3)
    assert fitted.interval.chosen.offset_points == pytest.approx(facts.offset_points, abs=1e-2)
    assert fitted.interval.chosen.quantiles == pytest.approx(facts.quantiles, rel=1e-2)


def test_the_best_are_told_by_a_fit_without_them(fitted: FittedPredictor) -> None:
    best = np.argsort(TOP1)[-8:]
    by_cost, mean, _ = told(others(best), np.sort(best))
    errors = by_cost + fitted.deviations_share * mean - TOP1[np.sort(best)]
    assert fitted.errors[1].mae_points == pytest.approx(np.abs(errors).mean(), abs=1e-3)
    assert fitted.errors[1].bias_points == pytest.approx(errors.mean(), abs=1e-3)


def test_a_quarter_and_half_of_the_others_predict_one_fifth(fitted: FittedPredictor) -> None:
    order = generator(SEED, "predictor", "curve").permutation(COUNT)
    assert [point.num_subnets for point in fitted.learning_curve] == [8, 16, 32]
    for point in fitted.learning_curve[:2]:
        by_cost, mean, _ = told(order[8 : 8 + point.num_subnets], order[:8])
        predicted = by_cost + fitted.deviations_share * mean
        assert point.mae_points == pytest.approx(np.abs(predicted - TOP1[order[:8]]).mean(), abs=1e-3)
        assert point.spearman == pytest.approx(spearman(predicted, TOP1[order[:8]]), abs=1e-3)
    last, inside = fitted.learning_curve[2], fitted.errors[0]
    assert (last.mae_points, last.spearman) == (inside.mae_points, inside.spearman)


def test_a_curve_of_few_subnets_begins_with_two() -> None:
    few = fit_predictor(SPACE, POPULATION[:6], TOP1[:6], num_images=NUM_IMAGES, config=QUICK)
    assert [point.num_subnets for point in few.learning_curve] == [2, 2, 5]
    assert few.interval.chosen is None

"""Accuracy by cost, and predictors of subnets that were measured on few images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.rank_correlation import spearman
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.evaluation.predictor.file import read_predictor, write_predictor
from ofa_toolkit.evaluation.predictor.fit import FittedPredictor, fit_predictor
from ofa_toolkit.evaluation.predictor.trend import fit_trend, share_of_deviations, trend_percent
from ofa_toolkit.evaluation.sampling import sampling_interval
from ofa_toolkit.evaluation.stratified import stratified_population
from ofa_toolkit.spaces import get_space
from tests.unit.evaluation.fitted import predictor_of

SPACE = get_space("efficientnet-lite0").with_num_classes(4).with_resolutions((96,))
QUICK = EnsembleConfig(num_members=2, hidden=(8,), num_steps=250)
MACS = np.geomspace(15e6, 72e6, 40).astype(np.int64)


def test_the_line_is_found_and_ends_where_measurements_end() -> None:
    truth = 100 / (1 + np.exp(-(1.2 * np.log(MACS) - 18)))
    trend = fit_trend(MACS, truth, 1_000_000)
    assert trend.slope == pytest.approx(1.2, abs=1e-3)
    np.testing.assert_allclose(trend_percent(trend, MACS), truth, atol=1e-2)
    beyond = trend_percent(trend, np.array([1, 10**12]))
    np.testing.assert_allclose(beyond, truth[[0, -1]], atol=1e-2)


@pytest.mark.parametrize("measured", [np.full(40, 100.0), np.full(40, 0.0), np.linspace(96, 80, 40)])
def test_where_nothing_rises_the_larger_still_counts_as_the_better(measured: np.ndarray) -> None:
    percent = trend_percent(fit_trend(MACS, measured, 40), MACS)
    assert (np.diff(percent) > 0).all()
    assert percent[0] > 0
    assert percent[-1] < 100
    assert percent.mean() == pytest.approx(measured.mean(), abs=0.3)


def test_deviations_are_believed_as_far_as_held_out_subnets_show_them() -> None:
    random = np.random.default_rng(0)
    predicted = random.normal(size=200)
    noise = random.normal(size=200)
    assert share_of_deviations(predicted, predicted + 0.1 * noise, 0.1) > 0.95
    assert 0.3 < share_of_deviations(predicted, 0.5 * predicted + 0.5 * noise, 0.1) < 0.55
    assert share_of_deviations(predicted, noise - 0.2 * predicted, 0.1) == 0
    assert share_of_deviations(np.zeros(200), noise, 0.1) == 0
    # All subnets alike on two images: the difference to the trend is exact, and tells nothing.
    assert share_of_deviations(0.01 * predicted, 0.01 * predicted, 15.0) == 0


def _measured(
    num_subnets: int, num_images: int, deviation: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, FittedPredictor]:
    """1,000 subnets, their true accuracies, their costs, and a fit to measurements of the first of them.

    The truth is a line in the logit, from 86 to 95.5 %, and deviations that choices add.
    """
    population = stratified_population(SPACE, 1000, seed=3)
    macs, random = PopulationComplexity(SPACE).macs(population), np.random.default_rng(4)
    choices = Choices.of(SPACE, SPACE.resolutions)
    effect = choices.one_hot(SPACE, population) @ random.normal(size=len(choices.rows))
    line = np.stack([np.ones(1000), np.log(macs)], axis=1)
    effect -= line @ np.linalg.lstsq(line, effect, rcond=None)[0]
    logit = np.interp(np.log(macs), np.log([macs.min(), macs.max()]), [1.82, 3.06])
    truth = 100 / (1 + np.exp(-(logit + deviation * effect / effect.std())))
    top1 = 100 * random.binomial(num_images, truth[:num_subnets] / 100) / num_images
    fitted = fit_predictor(SPACE, population[:num_subnets], top1, num_images=num_images, config=QUICK)
    return population, truth, macs, fitted


def test_forty_photos_tell_the_trend_and_an_interval_that_holds(tmp_path: Path) -> None:
    population, truth, macs, fitted = _measured(40, 40, deviation=0.1)
    assert fitted.deviations_share < 0.3
    path = tmp_path / "predictor.safetensors"
    write_predictor(path, predictor_of(SPACE, fitted))
    bound = read_predictor(path).bind(SPACE)
    predicted = bound.predict(population)
    for budget in (72e6, 36e6, 18e6):
        within = np.flatnonzero(macs <= budget)
        assert macs[within[np.argmax(predicted[within])]] > 0.93 * macs[within].max()
    low, high = bound.interval(population, 0.9, is_chosen=True)
    assert ((low <= truth) & (truth <= high)).mean() > 0.9
    middle = bound.predict_chosen(population)
    sampled = np.array([sampling_interval(percent, 40, 0.9) for percent in middle])
    assert (low <= sampled[:, 0]).all()
    assert (high >= sampled[:, 1]).all()
    assert np.abs(middle - truth).max() < 8


def test_many_images_tell_more_than_the_trend() -> None:
    population, truth, macs, fitted = _measured(300, 20_000, deviation=0.2)
    assert fitted.deviations_share > 0.9
    predicted = predictor_of(SPACE, fitted).bind(SPACE).predict(population[300:])
    by_cost = trend_percent(fitted.trend, macs[300:])
    assert spearman(predicted, truth[300:]) > 0.95
    assert spearman(by_cost, truth[300:]) < 0.9
    assert np.abs(predicted - truth[300:]).mean() < 0.6 * np.abs(by_cost - truth[300:]).mean()
    deviations = predicted - by_cost
    assert deviations.min() >= fitted.trend.lowest_points - 1e-4
    assert deviations.max() <= fitted.trend.highest_points + 1e-4


def test_photos_on_which_all_subnets_are_alike_still_give_a_predictor() -> None:
    population = stratified_population(SPACE, 30, seed=0)
    fitted = fit_predictor(SPACE, population, np.full(30, 100.0), num_images=2, config=QUICK)
    bound = predictor_of(SPACE, fitted).bind(SPACE)
    predicted = bound.predict(population)
    assert predicted.argmax() == PopulationComplexity(SPACE).macs(population).argmax()
    low, high = bound.interval(population, 0.9, is_chosen=True)
    assert low.max() < 60
    assert high.max() == 100

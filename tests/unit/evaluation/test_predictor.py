"""Accuracy predictors: the bundled ones, binding, files, intervals, fitting."""

from __future__ import annotations

import dataclasses
import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from ofa_tk.app import run
from ofa_toolkit.core.errors import ConfigError, FileFormatError, MismatchError
from ofa_toolkit.core.rank_correlation import kendall, spearman
from ofa_toolkit.core.resources import data_path
from ofa_toolkit.evaluation.predictor.assessment import (
    HeldOut,
    hold_out,
    interval_facts,
    random_folds,
    top_rows,
)
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.file import read_predictor, write_predictor
from ofa_toolkit.evaluation.predictor.interval import score_quantiles
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor
from ofa_toolkit.evaluation.predictor.training import (
    EnsembleConfig,
    fit_ensemble,
    predict_members,
    surprisal,
)
from ofa_toolkit.spaces import Encoding, compound, get_space, restrict, sample_population
from ofa_toolkit.zoo.supernet import load_accuracy_predictor
from tests.unit.evaluation.fitted import card_of

BUNDLED = ["ofa-mobilenet-v3-w1.0", "ofa-mobilenet-v3-w1.2"]


@pytest.fixture(scope="module")
def bundled() -> AccuracyPredictor:
    return load_accuracy_predictor("ofa-mobilenet-v3-w1.0")


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_predictors_are_small_and_say_what_they_are(name: str) -> None:
    predictor = load_accuracy_predictor(name)
    space = get_space(name)
    assert (data_path("zoo") / name / "accuracy_predictor.safetensors").stat().st_size <= 1_000_000
    assert predictor.card.space_identity == space.identity
    assert predictor.card.resolutions == (160, 176, 192, 208, 224)
    assert predictor.card.source
    assert predictor.card.caveats
    bound = predictor.bind(space.with_resolutions(predictor.card.resolutions))
    smallest, largest = bound.predict(Encoding(bound.space).encode([space.smallest(160), space.largest()]))
    assert 60 < smallest < largest < 82


def test_a_predictor_is_found_where_searches_find_it(
    bundled: AccuracyPredictor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "accuracy_predictor.safetensors"
    # A run has it beside its final supernet; the user's own for a zoo entry lies in the user's folder.
    supernet = tmp_path / "runs" / "mine" / "supernet"
    shutil.copytree(data_path("zoo") / "deps-compact-cifar10", supernet)
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    for place, source in (
        (supernet, str(tmp_path / "runs" / "mine")),
        (supernet, str(supernet)),
        (tmp_path / "data" / "zoo" / BUNDLED[0], BUNDLED[0]),
    ):
        card = dataclasses.replace(bundled.card, num_subnets=7)
        write_predictor(place / name, dataclasses.replace(bundled, card=card))
        assert run(["predictor", "show", source, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["num_subnets"] == 7
    (supernet / name).unlink()
    assert run(["predictor", "show", str(supernet.parent)]) == 1
    assert f"There is no accuracy predictor '{supernet / name}'" in capsys.readouterr().err


def test_the_bundled_predictor_states_the_errors_it_was_fitted_to_reach(bundled: AccuracyPredictor) -> None:
    by_split = {error.split: error for error in bundled.card.errors}
    assert by_split["random"].spearman >= 0.996
    assert by_split["random"].mae_points <= 0.07
    assert by_split["above the 80th percentile"].spearman < by_split["random"].spearman
    assert sum("left out" in split for split in by_split) == 5


def test_published_accuracies_lie_in_the_interval_of_their_subnets(bundled: AccuracyPredictor) -> None:
    """Five measured rows of DyNAS-T (Apache-2.0), far apart in accuracy."""
    space = get_space("ofa-mobilenet-v3-w1.0")
    from ofa_toolkit.spaces.official_architectures import from_official

    rows = [
        (
            "2-3-2-4-3",
            "5-7-0-0-3-3-3-0-5-5-0-0-7-3-3-3-5-5-5-0",
            "4-3-0-0-4-6-3-0-4-3-0-0-3-6-6-6-4-3-4-0",
            75.456,
        ),
        (
            "3-3-3-4-3",
            "5-5-5-0-3-7-7-0-7-5-7-0-3-3-5-5-5-7-5-0",
            "4-3-6-0-6-6-3-0-6-4-4-0-3-4-3-6-4-4-3-0",
            76.039,
        ),
        (
            "2-3-3-4-2",
            "5-5-0-0-7-7-5-0-5-5-3-0-5-3-5-7-3-3-0-0",
            "3-4-0-0-4-4-4-0-4-3-6-0-3-3-4-4-3-4-0-0",
            74.893,
        ),
        (
            "3-3-2-3-3",
            "5-3-7-0-5-5-7-0-5-3-0-0-7-5-5-0-5-7-7-0",
            "4-3-3-0-4-3-3-0-3-3-0-0-4-3-4-0-4-4-4-0",
            74.937,
        ),
    ]

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split("-")]

    subnets = [
        from_official(space, {"d": numbers(d), "ks": numbers(ks), "e": numbers(e), "r": 224})
        for d, ks, e, _ in rows
    ]
    measured = np.array([top1 for *_, top1 in rows])
    bound = bundled.bind(space)
    population = Encoding(space).encode(subnets)
    assert np.abs(bound.predict(population) - measured).max() < 0.2
    low, high = bound.interval(population, 0.95)
    assert ((low <= measured) & (measured <= high)).all()


def test_restricted_and_compound_spaces_give_the_same_figures(bundled: AccuracyPredictor) -> None:
    full = get_space("ofa-mobilenet-v3-w1.0")
    whole = bundled.bind(full)
    for space in (
        restrict(full, kernel_sizes=(3, 5), resolutions=(160, 192), depths=(2, 3)),
        compound(full).with_resolutions((176,)),
    ):
        rows = sample_population(space, 50, np.random.default_rng(0))
        same = Encoding(full).encode(Encoding(space).decode(rows))
        np.testing.assert_allclose(bundled.bind(space).predict(rows), whole.predict(same), atol=1e-4)


def test_large_populations_equal_single_rows(bundled: AccuracyPredictor) -> None:
    bound = bundled.bind(get_space("ofa-mobilenet-v3-w1.0"))
    rows = sample_population(bound.space, 9000, np.random.default_rng(0))
    some = [0, 4095, 4096, 8999]
    single = np.concatenate([bound.predict(rows[i : i + 1]) for i in some])
    np.testing.assert_allclose(bound.predict(rows)[some], single, atol=1e-3)


def test_another_space_is_refused_by_name(bundled: AccuracyPredictor) -> None:
    for name in ("ofa-mobilenet-v3-w1.2", "deps-mobilenet-v3-cifar", "ofa-resnet50"):
        with pytest.raises(MismatchError, match=f"is for subnets of 'ofa-mobilenet-v3-w1.0'.*'{name}'"):
            bundled.bind(get_space(name))


def test_unmeasured_and_uncovered_resolutions_widen_the_interval(bundled: AccuracyPredictor) -> None:
    space = get_space("ofa-mobilenet-v3-w1.0")
    bound = bundled.bind(space)
    assert 128 in bound.uncovered_resolutions
    assert 160 not in bound.uncovered_resolutions
    rows = Encoding(space).encode([space.largest(r) for r in (224, 176, 172, 160)])
    low, high = bound.interval(rows)
    width = high - low
    assert (width[1:] > 2 * width[0]).all()
    assert bound.is_extrapolation(rows)[1:].all()
    between = bound.predict(rows)
    assert between[3] < between[2] < between[1] < between[0]


def test_confidence_widens_the_interval_and_has_an_end(bundled: AccuracyPredictor) -> None:
    bound = bundled.bind(get_space("ofa-mobilenet-v3-w1.0"))
    rows = sample_population(bound.space, 20, np.random.default_rng(0))
    widths = [np.subtract(*bound.interval(rows, c)[::-1]) for c in (0.5, 0.8, 0.95)]
    assert (widths[0] < widths[1]).all()
    assert (widths[1] < widths[2]).all()
    with pytest.raises(ConfigError, match=r"Confidence 0.999 is not offered.*0.5 to 0.95"):
        bound.interval(rows, 0.999)


def test_files_round_trip_and_are_reproducible(bundled: AccuracyPredictor, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path in paths:
        write_predictor(path, bundled)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    again = read_predictor(paths[0])
    assert again.card == bundled.card
    assert again.choices == bundled.choices
    space = get_space("ofa-mobilenet-v3-w1.0")
    rows = sample_population(space, 20, np.random.default_rng(0))
    assert (again.bind(space).predict(rows) == bundled.bind(space).predict(rows)).all()


def test_damaged_and_foreign_files_are_refused(bundled: AccuracyPredictor, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "p.safetensors"
    with pytest.raises(FileFormatError, match="There is no accuracy predictor"):
        read_predictor(path)
    write_predictor(path, bundled)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileFormatError, match="is damaged"):
        read_predictor(path)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(FileFormatError, match="is not an accuracy predictor"):
        read_predictor(path)


def test_no_prediction_leaves_what_a_share_can_be(
    bundled: AccuracyPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few photos can lead a fit beyond 100 %."""
    bound = bundled.bind(get_space("ofa-mobilenet-v3-w1.0"))
    rows = sample_population(bound.space, 3, np.random.default_rng(0))
    members = np.array([[104.0, 60.0, -3.0], [108.0, 62.0, -1.0]])
    monkeypatch.setattr(type(bound), "_members", lambda _self, population: members[:, : len(population)])
    assert bound.predict(rows).tolist() == [100, 61, 0]
    low, high = bound.interval(rows)
    assert (low >= 0).all()
    assert (high <= 100).all()
    assert low[1] < 61 < high[1]


def test_a_fitted_ensemble_predicts_unseen_subnets() -> None:
    """An additive figure with interactions, learned from 300 rows."""
    space = get_space("mobilenet-v3-compact")
    random = np.random.default_rng(0)
    rows = sample_population(space, 400, random)
    choices = Choices.of(space, space.resolutions)
    one_hot = choices.one_hot(space, rows)
    factors = choices.factors()
    effect = one_hot @ factors @ random.normal(size=factors.shape[1])
    truth = 70 + effect + 0.05 * effect**2
    config = EnsembleConfig(num_members=2, num_steps=400)
    members = fit_ensemble(choices, one_hot[:300], truth[:300], config=config)
    again = fit_ensemble(choices, one_hot[:300], truth[:300], config=config)
    predicted = predict_members(members, one_hot[300:])
    assert (predicted == predict_members(again, one_hot[300:])).all()
    assert spearman(predicted.mean(axis=1), truth[300:]) > 0.95
    assert predicted.std(axis=1).min() > 0


@pytest.mark.parametrize("learning_rate", [1e-3, -1.0])
def test_members_are_fitted_with_one_thread_and_the_number_is_put_back(
    learning_rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = get_space("mobilenet-v3-compact")
    choices = Choices.of(space, space.resolutions)
    one_hot = choices.one_hot(space, sample_population(space, 20, np.random.default_rng(0)))
    config = EnsembleConfig(num_members=2, hidden=(4,), num_steps=2, learning_rate=learning_rate)
    seen: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    fails = pytest.raises(ValueError, match="learning rate") if learning_rate < 0 else nullcontext()
    with fails:
        fit_ensemble(choices, one_hot, np.arange(20.0), config=config)
    assert seen == [1, 5]


def test_equal_accuracies_are_predicted_as_they_are() -> None:
    space = get_space("mobilenet-v3-compact")
    choices = Choices.of(space, space.resolutions)
    one_hot = choices.one_hot(space, sample_population(space, 20, np.random.default_rng(0)))
    config = EnsembleConfig(num_members=2, hidden=(4,), num_steps=40)
    members = fit_ensemble(choices, one_hot, np.full(20, 71.5), config=config)
    assert np.abs(predict_members(members, one_hot) - 71.5).max() < 1


def test_intervals_from_held_out_errors_cover_new_rows() -> None:
    space = get_space("mobilenet-v3-compact")
    random = np.random.default_rng(1)
    rows = sample_population(space, 700, random)
    choices = Choices.of(space, space.resolutions)
    one_hot = choices.one_hot(space, rows)
    truth = 70 + one_hot @ random.normal(size=len(choices.rows)) + random.normal(size=700) * 0.3
    config = EnsembleConfig(num_members=2, hidden=(8,), num_steps=150)

    def fit(train: np.ndarray):  # noqa: ANN202
        members = fit_ensemble(choices, one_hot[:400][train], truth[:400][train], config=config)
        return lambda test: predict_members(members, one_hot[:400][test])

    inside = hold_out("random", random_folds(400, 3, random), truth[:400], fit)
    outside = hold_out("top", [top_rows(truth[:400])], truth[:400], fit)
    rarity = surprisal(one_hot[:400])
    facts = interval_facts(inside, [outside], truth[:400], one_hot[:400] @ rarity)
    card = card_of(space, interval=facts)
    members = fit_ensemble(choices, one_hot[:400], truth[:400], config=config)
    predictor = AccuracyPredictor(card=card, choices=choices, members=members, surprisal=rarity)
    low, high = predictor.bind(space).interval(rows[400:], 0.9)
    covered = ((low <= truth[400:]) & (truth[400:] <= high)).mean()
    assert 0.85 <= covered <= 1


def test_an_origin_that_was_predicted_worse_widens_every_interval() -> None:
    random = np.random.default_rng(2)

    def held(split: str, deviation: float) -> HeldOut:
        measured = random.uniform(70, 80, 200)
        predicted = measured + deviation * random.normal(size=200)
        return HeldOut(split, np.arange(200), predicted, np.full(200, 0.05), measured)

    inside, top, usual, unusual = (held(*kind) for kind in (("r", 0.1), ("t", 0.3), ("a", 0.1), ("b", 0.2)))
    narrow = interval_facts(inside, [top], inside.measured, np.ones(200))
    wide = interval_facts(inside, [top], inside.measured, np.ones(200), origins=[usual, unusual])
    assert wide.inside == score_quantiles(unusual.errors, unusual.spread, wide.noise_points)
    assert all(w > 1.5 * n for w, n in zip(wide.inside, narrow.inside, strict=True))
    assert wide.outside == narrow.outside == score_quantiles(top.errors, top.spread, wide.noise_points)


def test_rank_correlations_with_ties() -> None:
    tied = spearman(np.array([3.0, 1.0, 3.0, 2.0]), np.array([4.0, 1.0, 3.0, 2.0]))
    assert tied == pytest.approx(np.sqrt(0.9))
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 3, 2, 5, 4])
    assert spearman(a, b) == pytest.approx(0.8)
    assert kendall(a, b) == pytest.approx(0.6)
    with_ties = np.array([1.0, 1, 2, 2, 3])
    assert kendall(with_ties, with_ties) == pytest.approx(1.0)
    assert spearman(a, np.ones(5)) == 0.0
    assert kendall(a, np.ones(5)) == 0.0


def test_few_images_leave_ties_at_the_top() -> None:
    assert top_rows(np.arange(10.0)).tolist() == [8, 9]
    assert top_rows(np.array([50.0, *[100.0] * 9])).tolist() == [1, 2]

"""Predictors of a few made-up numbers: choices, tables, members, intervals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.errors import ConfigError, FileFormatError, MismatchError
from ofa_toolkit.evaluation.predictor.card import (
    ChosenFacts,
    IntervalFacts,
    PredictorCard,
    PredictorError,
    TrendFacts,
)
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.evaluation.predictor.file import holds_predictor, read_predictor, write_predictor
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor, BoundAccuracy, Member
from ofa_toolkit.evaluation.predictor.training import _Ensemble, fit_ensemble, predict_members, surprisal
from ofa_toolkit.evaluation.predictor.trend import trend_percent
from ofa_toolkit.evaluation.sampling import sampling_interval
from ofa_toolkit.evaluation.stratified import stratified_population
from ofa_toolkit.spaces import Encoding, get_space, restrict

SPACE = restrict(get_space("mobilenet-v3-compact"), expand_ratios=[3, 6]).with_resolutions((24, 32))


class TestChoices:
    """Rows of a predictor's first layer."""

    def test_every_choice_has_a_row(self) -> None:
        choices = Choices.of(SPACE, (24, 32))
        # Two sizes; for each of 15 blocks skipping it, or two kernel sizes times two ratios.
        assert len(choices.rows) == 2 + 15 * 5
        assert choices.rows[:7] == (
            ("resolution", 24),
            ("resolution", 32),
            ("skip", 0, 0),
            ("block", 0, 0, 3, 3.0),
            ("block", 0, 0, 3, 6.0),
            ("block", 0, 0, 5, 3.0),
            ("block", 0, 0, 5, 6.0),
        )
        assert choices.rows[7] == ("skip", 0, 1)
        widths = [row for row in Choices.of(get_space("ofa-resnet50"), (128,)).rows if row[0] == "width"]
        assert widths[:2] == [("width", 0, 24), ("width", 0, 32)]

    def test_each_subnet_has_one_row_a_gene(self) -> None:
        choices = Choices.of(SPACE, (24, 32))
        subnets = Encoding(SPACE).encode([SPACE.smallest(24), SPACE.largest(32)])
        found = choices.one_hot(SPACE, subnets)
        assert (found.shape, found.sum(axis=1).tolist()) == ((2, 77), [16, 16])
        used = [{row for row, flag in zip(choices.rows, flags, strict=True) if flag} for flags in found]
        assert {row for row in used[0] if row[0] != "skip"} == {
            ("resolution", 24),
            *(("block", stage, 0, 3, 3.0) for stage in range(5)),
        }
        assert used[1] == {
            ("resolution", 32),
            *(("block", stage, block, 5, 6.0) for stage in range(5) for block in range(3)),
        }

    def test_other_sizes_lie_on_the_line_through_the_two_nearest(self) -> None:
        choices = Choices.of(SPACE, (200, 100, 400))
        sizes = (50, 100, 150, 200, 300, 400, 500)
        table = choices.selectors(SPACE.with_resolutions(sizes), "It")[0]
        # Columns as given: 200, 100, 400.
        assert table[:, :3].tolist() == [
            [-0.5, 1.5, 0],
            [0, 1, 0],
            [0.5, 0.5, 0],
            [1, 0, 0],
            [0.5, 0, 0.5],
            [0, 0, 1],
            [-0.5, 0, 1.5],
        ]
        assert not table[:, 3:].any()
        alone = Choices.of(SPACE, (100,)).selectors(SPACE.with_resolutions((50, 100)), "It")[0]
        assert alone[:, 0].tolist() == [1, 1]
        pair = Choices.of(SPACE, (100, 200)).selectors(SPACE.with_resolutions((300,)), "It")[0]
        assert pair[0, :2].tolist() == [-1, 2]

    @pytest.mark.parametrize(
        ("known", "message"),
        [
            (
                {"kernel_sizes": [3]},
                "It knows nothing about kernel size 5 with expand ratio 3 in block 1 of stage 1",
            ),
            ({"expand_ratios": [6]}, "kernel size 3 with expand ratio 3 in block 1 of stage 1"),
        ],
    )
    def test_unknown_choices_are_named(self, known: dict[str, Any], message: str) -> None:
        with pytest.raises(MismatchError, match=message):
            Choices.of(restrict(SPACE, **known), (24, 32)).selectors(SPACE, "It")
        rows = tuple(row for row in Choices.of(SPACE, (24,)).rows if row != ("skip", 1, 2))
        with pytest.raises(MismatchError, match="skipping block 3 of stage 2"):
            Choices(rows).selectors(SPACE, "It")
        resnet = get_space("ofa-resnet50")
        rows = tuple(row for row in Choices.of(resnet, (128,)).rows if row != ("width", 1, 48))
        with pytest.raises(MismatchError, match="width 48 of stage 2"):
            Choices(rows).selectors(resnet, "It")

    def test_factors(self) -> None:
        choices = Choices(
            (
                ("resolution", 100),
                ("resolution", 200),
                ("skip", 0, 0),
                ("block", 0, 0, 3, 4.0),
                ("block", 0, 0, 5, 4.0),
                ("width", 0, 16),
            )
        )
        # 100, 200, kernel size 3, ratio 4, kernel size 5, width 16, and the size in deviations from the mean.
        assert choices.factors().tolist() == [
            [1, 0, 0, 0, 0, 0, -1],
            [0, 1, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 0, 0, 0],
            [0, 0, 1, 1, 0, 0, 0],
            [0, 0, 0, 1, 1, 0, 0],
            [0, 0, 0, 0, 0, 1, 0],
        ]
        assert Choices((("resolution", 100), ("width", 0, 16))).factors().tolist() == [[1, 0, 0], [0, 1, 0]]

    def test_documents(self) -> None:
        choices = Choices.of(SPACE, (24, 32))
        assert Choices.from_document(choices.to_document()) == choices
        for wrong in ("rows", [[]], [1], {"a": 1}, [["width", 0, 16], []]):
            with pytest.raises(FileFormatError, match="malformed"):
                Choices.from_document(wrong)


CHOICES = Choices.of(SPACE, (24, 32))
FACTS = IntervalFacts(
    noise_points=3.0,
    confidences=(0.5, 0.9),
    inside=(1.0, 2.0),
    outside=(2.0, 4.0),
    unmeasured_points=(0.0, 0.0),
    lowest_percent=0.0,
    highest_percent=100.0,
    highest_surprisal=7.0,
)


def member(by_size: tuple[float, float], *layers: tuple[Any, Any], first: float = 0.0) -> Member:
    """Adds a figure of the image's size; every choice adds `first` to one of two hidden units."""
    linear = np.zeros(len(CHOICES.rows), np.float32)
    linear[:2] = by_size
    table = np.zeros((len(CHOICES.rows), 2), np.float32)
    table[:, 0] = first
    given = layers or (([[0], [0]], [0]),)
    arrays = tuple((np.array(w, np.float32), np.array(b, np.float32)) for w, b in given)
    return Member(first=table, linear=linear, bias=np.array([1, -1], np.float32), layers=arrays)


def bound(*members: Member, facts: IntervalFacts = FACTS, **changes: Any) -> BoundAccuracy:
    effect, rarity = changes.pop("effect", None), changes.pop("rarity", 0.0)
    card = PredictorCard(
        **{
            "space": SPACE.name,
            "space_identity": SPACE.identity,
            "supernet": "made up",
            "dataset": "none",
            "resolutions": (24, 32),
            "measured_resolutions": (24, 32),
            "provenance": "fitted",
            "source": "by hand",
            "method": "by hand",
            "num_subnets": 2,
            "interval": facts,
            **changes,
        }
    )
    return AccuracyPredictor(
        card=card,
        choices=CHOICES,
        members=members,
        surprisal=np.full(len(CHOICES.rows), rarity, np.float32),
        resolution_effect=effect,
    ).bind(SPACE)


PAIR = Encoding(SPACE).encode([SPACE.smallest(24), SPACE.largest(32)])


class TestMembers:
    """What perceptrons say."""

    # Hidden units are 1 and -1 by their bias; a negative one counts as 0.
    ONE_LAYER = (([[3], [5]], [10]),)
    # The hidden units become 2 and -3, the second counts as 0 again: 4 * 2 - 1.
    TWO_LAYERS = (([[1, -5], [7, 7]], [1, 2]), ([[4], [9]], [-1]))

    @pytest.mark.parametrize(
        ("layers", "first", "expected"),
        [
            (ONE_LAYER, 0.0, 13),
            (TWO_LAYERS, 0.0, 7),
            # 16 choices add a half each to the first unit: 9.
            (ONE_LAYER, 0.5, 37),
        ],
    )
    def test_layers(self, layers: Any, first: float, expected: float) -> None:
        made = member((20, 30), *layers, first=first)
        other = member((22, 36), *layers, first=first)
        assert bound(made).predict(PAIR).tolist() == [20 + expected, 30 + expected]
        by_rows = predict_members((made, other), CHOICES.one_hot(SPACE, PAIR))
        assert by_rows.tolist() == [[20 + expected, 22 + expected], [30 + expected, 36 + expected]]
        both = bound(made, other)
        assert both.predict(PAIR).tolist() == [21 + expected, 33 + expected]
        assert both.spread(PAIR).tolist() == [1, 3]
        assert both.predict(PAIR[:0]).shape == (0,)

    def test_shares_end_at_0_and_100(self) -> None:
        assert bound(member((-20, 130))).predict(PAIR).tolist() == [0, 100]

    def test_a_trend_bears_deviations_within_those_fitted(self) -> None:
        macs = PopulationComplexity(SPACE).macs(PAIR)
        trend = TrendFacts(
            intercept=-1.0,
            slope=0.1,
            lowest_macs=1,
            highest_macs=10**9,
            lowest_points=-2.0,
            highest_points=3.0,
        )
        line = trend_percent(trend, macs)
        for by_size, added in (((1, 2), (1, 2)), ((-9, 9), (-2, 3))):
            found = bound(member(by_size), trend=trend).predict(PAIR)
            np.testing.assert_allclose(found, line + added, atol=1e-4)

    def test_an_effect_counts_where_nothing_was_measured(self) -> None:
        effect = member((-5, -7))
        found = bound(member((70, 80)), member((72, 80)), effect=effect, measured_resolutions=(32,))
        assert found.predict(PAIR).tolist() == [66, 80]
        assert found.spread(PAIR).tolist() == [1, 0]
        assert found.is_extrapolation(PAIR).tolist() == [True, False]

    def test_sizes_that_are_not_covered(self) -> None:
        assert bound(member((70, 80))).uncovered_resolutions == ()
        assert bound(member((70, 80)), resolutions=(32,)).uncovered_resolutions == (24,)


class TestIntervals:
    """Noise 3 and a spread of 4 make 5; twice that at 90 %."""

    MEMBERS = (member((46, 60)), member((54, 60)))

    def test_around_the_mean(self) -> None:
        low, high = bound(*self.MEMBERS).interval(PAIR)
        assert (low.tolist(), high.tolist()) == ([40, 54], [60, 66])
        low, high = bound(*self.MEMBERS).interval(PAIR, 0.5)
        assert (low.tolist(), high.tolist()) == ([45, 57], [55, 63])

    def test_unlike_the_fitted(self) -> None:
        # 16 choices of 0.5 nats each are rarer together than 7.
        rare = bound(*self.MEMBERS, rarity=0.5)
        assert rare.is_extrapolation(PAIR).tolist() == [True, True]
        assert rare.interval(PAIR)[0].tolist() == [30, 48]
        assert bound(*self.MEMBERS, rarity=0.4375).is_extrapolation(PAIR).tolist() == [False, False]
        high = dataclasses.replace(FACTS, highest_percent=55.0)
        assert bound(*self.MEMBERS, facts=high).is_extrapolation(PAIR).tolist() == [False, True]
        low = dataclasses.replace(FACTS, lowest_percent=55.0)
        assert bound(*self.MEMBERS, facts=low).is_extrapolation(PAIR).tolist() == [True, False]

    def test_ends(self) -> None:
        low, high = bound(member((1, 99))).interval(PAIR)
        assert (low.tolist(), high.tolist()) == ([0, 93], [7, 100])

    @pytest.mark.parametrize(
        ("offset", "ceiling", "expected"),
        [(0.5, None, [0, 99.25]), (-0.5, None, [0.75, 100]), (0.5, 80.0, [0, 80])],
    )
    def test_what_a_search_chose_stays_a_share(
        self, offset: float, ceiling: float | None, expected: list[float]
    ) -> None:
        chosen = ChosenFacts(
            how="", num_subnets=9, offset_points=offset, quantiles=(1.0, 2.0), ceiling_percent=ceiling
        )
        made = bound(member((0.25, 99.75)), facts=dataclasses.replace(FACTS, chosen=chosen))
        assert made.predict_chosen(PAIR).tolist() == expected

    def test_few_images_join_as_another_side(self) -> None:
        facts = dataclasses.replace(FACTS, num_images=20)
        low, high = bound(*self.MEMBERS, facts=facts).interval(PAIR, 0.9)
        for row, (middle, half) in enumerate(((50, 10), (60, 6))):
            below, above = sampling_interval(middle, 20, 0.9)
            assert low[row] == pytest.approx(middle - np.hypot(half, middle - below))
            assert high[row] == pytest.approx(middle + np.hypot(half, above - middle))


class TestCards:
    """What a card may say."""

    @pytest.mark.parametrize(
        ("kind", "name", "taken", "refused"),
        [
            (PredictorError, "num_subnets", 1, 0),
            (PredictorError, "spearman", -1, -1.01),
            (PredictorError, "spearman", 1, 1.01),
            (PredictorError, "kendall", -1, -1.01),
            (PredictorError, "kendall", 1, 1.01),
            (PredictorError, "mae_points", 0, -0.01),
            (TrendFacts, "slope", 0.001, 0),
            (TrendFacts, "lowest_macs", 1, 0),
            (TrendFacts, "highest_macs", 1, 0),
            (IntervalFacts, "noise_points", 0.001, 0),
            (IntervalFacts, "num_images", 1, 0),
            (IntervalFacts, "confidences", [0.001, 0.999], [0, 0.5]),
            (IntervalFacts, "confidences", [0.001, 0.999], [0.5, 1]),
            (EnsembleConfig, "num_members", 2, 1),
            (EnsembleConfig, "num_steps", 1, 0),
            (EnsembleConfig, "batch_size", 1, 0),
            (EnsembleConfig, "learning_rate", 0.001, 0),
            (EnsembleConfig, "weight_decay", 0, -0.01),
            (EnsembleConfig, "linear_weight_decay", 0, -0.01),
        ],
    )
    def test_limits(self, kind: type, name: str, taken: Any, refused: Any) -> None:
        error = {
            "split": "a",
            "num_subnets": 2,
            "spearman": 0,
            "kendall": 0,
            "mae_points": 1,
            "bias_points": 0,
        }
        trend = {"intercept": 0, "slope": 1, "lowest_macs": 1, "highest_macs": 2}
        rest: dict[type, dict[str, Any]] = {
            PredictorError: error,
            TrendFacts: trend,
            IntervalFacts: configuration.to_dict(FACTS),
            EnsembleConfig: {},
        }
        configuration.from_dict(kind, {**rest[kind], name: taken})
        with pytest.raises(ConfigError, match=name):
            configuration.from_dict(kind, {**rest[kind], name: refused})

    @pytest.mark.parametrize("name", ["confidences", "inside", "outside", "unmeasured_points"])
    def test_quantiles_belong_to_confidences(self, name: str) -> None:
        with pytest.raises(ConfigError, match="do not match the confidences"):
            dataclasses.replace(FACTS, **{name: (0.5,)})
        empty = dict.fromkeys(("confidences", "inside", "outside", "unmeasured_points"), ())
        with pytest.raises(ConfigError, match="do not match the confidences"):
            dataclasses.replace(FACTS, **empty)

    def test_an_ensemble_that_nothing_is_said_of(self) -> None:
        config = EnsembleConfig()
        assert (config.num_members, config.hidden, config.num_steps, config.batch_size) == (
            5,
            (16, 16),
            3000,
            256,
        )


class TestFitting:
    """From rows and figures to members."""

    def test_rare_choices_surprise(self) -> None:
        rows = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0]], np.float32)
        assert surprisal(rows).tolist() == pytest.approx([0, -np.log(3 / 4), -np.log(1 / 4)])

    def test_members_say_what_the_fitted_network_says(self) -> None:
        config = EnsembleConfig(num_members=2, hidden=(4, 3))
        network = _Ensemble(6, config, seed=0)
        inputs = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
        with torch.no_grad():
            network.linear += torch.arange(12.0).reshape(2, 6, 1)
            outputs = network(torch.from_numpy(inputs).expand(2, 50, 6)).numpy().T
        members = network.members(np.eye(6, dtype=np.float32), mean=70.0, scale=3.0)
        assert predict_members(members, inputs) == pytest.approx(70 + 3 * outputs, rel=1e-4, abs=1e-3)

    def test_an_additive_figure_is_learned_and_its_scale_kept(self) -> None:
        rows = CHOICES.one_hot(SPACE, stratified_population(SPACE, 120, seed=0))
        factors = rows @ CHOICES.factors()
        figure = 1000 + 40 * factors[:, :20] @ np.linspace(-1, 1, 20)
        config = EnsembleConfig(num_members=2, hidden=(4,), num_steps=80, learning_rate=0.05)
        members = fit_ensemble(CHOICES, rows, figure, config=config, seed=1)
        assert [m.first.shape for m in members] == [(77, 4)] * 2
        assert [[w.shape for w, _ in m.layers] for m in members] == [[(4, 1)]] * 2
        predicted = predict_members(members, rows)
        assert predicted.shape == (120, 2)
        assert np.abs(predicted.mean(axis=1) - figure).mean() < 0.25 * figure.std()
        other = fit_ensemble(CHOICES, rows, figure, config=config, seed=2)
        assert not np.array_equal(predict_members(other, rows), predicted)


def test_files_of_a_predictor(tmp_path: Any) -> None:
    predictor = bound(member((70, 80)), member((72, 80)), effect=member((1, 2))).predictor
    path = tmp_path / "p.safetensors"
    assert not holds_predictor(path)
    write_predictor(path, predictor)
    assert holds_predictor(path)
    found = read_predictor(path)
    assert (found.card, found.choices, len(found.members)) == (predictor.card, predictor.choices, 2)
    assert found.resolution_effect is not None
    assert found.resolution_effect.linear[:2].tolist() == [1, 2]
    for changes in (
        {"surprisal": predictor.surprisal[:-1]},
        {"members": ()},
        {"members": (dataclasses.replace(predictor.members[0], linear=np.zeros(3, np.float32)),)},
        {"members": (dataclasses.replace(predictor.members[0], first=np.zeros((77, 3), np.float32)),)},
        {"members": (dataclasses.replace(predictor.members[0], first=np.zeros((76, 2), np.float32)),)},
        {"members": (dataclasses.replace(predictor.members[0], layers=()),)},
        {"members": (member((1, 1), (np.zeros((3, 1)), np.zeros(1))),)},
        {"members": (member((1, 1), (np.zeros((2, 2)), np.zeros(2))),)},
    ):
        write_predictor(path, dataclasses.replace(predictor, **changes))
        with pytest.raises(FileFormatError):
            read_predictor(path)
        assert not holds_predictor(path)

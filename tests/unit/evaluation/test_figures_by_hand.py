"""Accuracies, buckets, intervals and trends of a few subnets and images, worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.errors import DataError, MismatchError
from ofa_toolkit.evaluation import accuracy as accuracy_module
from ofa_toolkit.evaluation.accuracy import (
    Accuracy,
    evaluate,
    evaluate_on_batches,
    evaluate_subnet,
    recalibration_batches,
)
from ofa_toolkit.evaluation.confusion import confusion_matrix
from ofa_toolkit.evaluation.pareto_metrics import best_per_bucket, bucket_index, mean_pareto_accuracy
from ofa_toolkit.evaluation.predictor.assessment import (
    HeldOut,
    hold_out,
    interval_facts,
    random_folds,
    top_rows,
)
from ofa_toolkit.evaluation.predictor.card import TrendFacts
from ofa_toolkit.evaluation.predictor.chosen import (
    chosen_facts,
    facts_of_searches,
    gain_seen,
    largest_row,
    nested_searches,
)
from ofa_toolkit.evaluation.predictor.trend import fit_trend, share_of_deviations, trend_percent
from ofa_toolkit.evaluation.sampling import accuracy_text, percent_text, sampling_interval
from ofa_toolkit.evaluation.stratified import NUM_STRATA, stratified_population
from ofa_toolkit.spaces import Encoding, get_space, restrict
from ofa_toolkit.supernets import Supernet

SPACE = get_space("mobilenet-v3-compact")


class TestAccuracy:
    """Images hold their own logits."""

    class Reads(nn.Module):
        """Logits are the first pixels."""

        def forward(self, images: Tensor) -> Tensor:
            assert not self.training
            return images[:, :, 0, 0]

    IMAGES = torch.tensor([[0.0, 2, 1], [3, 0, 0], [0, 0, 4], [1, 0, 0], [0, 0, 0]])[:, :, None, None]
    LABELS = torch.tensor([1, 0, 1, 2, 0])

    def batches(self, *sizes: int) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.IMAGES.split(list(sizes)), self.LABELS.split(list(sizes)), strict=True))

    @pytest.mark.parametrize("sizes", [(5,), (1, 3, 1), (4, 1)])
    def test_shares_of_all_images_however_they_are_batched(self, sizes: tuple[int, ...]) -> None:
        network = self.Reads().train()
        found = evaluate(network, self.batches(*sizes))
        assert network.training
        assert (found.top1_percent, found.num_images, found.num_recalibration_images) == (60, 5, 0)
        assert found.top1_among_percent is None
        e = math.e
        losses = (
            math.log((1 + e**2 + e) / e**2),
            math.log((e**3 + 2) / e**3),
            math.log(2 + e**4),
            math.log(e + 2),
            math.log(3),
        )
        assert found.loss == pytest.approx(sum(losses) / 5)
        assert found.interval_percent == sampling_interval(60, 5, 0.95)

    def test_among_the_classes_of_the_data(self) -> None:
        # Without the last output the third image goes to the first of equals, 0; the fourth has no chance.
        found = evaluate(self.Reads(), self.batches(2, 3), own_outputs=[0, 1])
        assert (found.top1_percent, found.top1_among_percent) == (60, 60)
        found = evaluate(self.Reads(), self.batches(2, 3), own_outputs=[1, 2])
        assert found.top1_among_percent == 20
        found = evaluate(self.Reads(), [(self.IMAGES[:3], self.LABELS[:3])], own_outputs=[0, 1])
        assert (found.top1_percent, found.top1_among_percent) == (200 / 3, 200 / 3)

    @pytest.mark.parametrize("sizes", [None, (2, 3)])
    def test_images_that_statistics_are_of_are_counted(self, sizes: tuple[int, ...] | None) -> None:
        supernet = Supernet(SPACE.with_num_classes(3))
        images, labels = torch.randn(5, 3, 32, 32), torch.zeros(5, dtype=torch.int64)
        statistics = None if sizes is None else zip(images.split(sizes), labels.split(sizes), strict=True)
        found = evaluate_on_batches(
            supernet, SPACE.smallest(32), [(images, labels)], recalibration=statistics, device="cpu"
        )
        assert (found.num_images, found.num_recalibration_images) == (5, 0 if sizes is None else 5)

    def test_what_is_no_module_may_judge(self) -> None:
        assert evaluate(lambda images: images[:, :, 0, 0], self.batches(5)).top1_percent == 60

    def test_errors(self) -> None:
        with pytest.raises(DataError, match="no images to evaluate on"):
            evaluate(self.Reads(), [])
        network = self.Reads().train()
        with pytest.raises(MismatchError, match="a label 3; the network has 3 classes"):
            evaluate(network, [(self.IMAGES[:1], torch.tensor([3]))])
        assert network.training

    def test_a_subnet_asks_the_data_for_its_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[Any, ...]] = []

        class Images:
            name, num_classes, output_names, own_outputs = "photos", 2, ("a", "b"), None

            def batches(self, split: str, batch_size: int, **options: Any) -> tuple[str, int]:
                asked.append((split, batch_size, options.pop("device"), options))
                return split, batch_size

        class OfTwoClasses:
            space = SPACE.with_num_classes(2)

        def judge(_supernet: Any, subnet: Any, batches: Any, **options: Any) -> Any:
            return subnet, batches, options["recalibration"], options["own_outputs"]

        monkeypatch.setattr(accuracy_module, "evaluate_on_batches", judge)
        supernet: Any = OfTwoClasses()
        dataset: Any = Images()
        subnet = SPACE.smallest(32)
        found: Any = evaluate_subnet(supernet, subnet, dataset)
        assert found == (subnet, ("validation", 200), ("train", 200), None)
        (split, size, _, options), (train, _, _, training) = asked
        assert (split, size, options) == ("validation", 200, {"resolution": 32, "limit": None})
        assert train == "train"
        assert (training["resolution"], training["limit"], training["train_transforms"]) == (32, 2000, True)
        found = evaluate_subnet(
            supernet, subnet, dataset, split="test", batch_size=7, limit=5, recalibration_images=0
        )
        assert found == (subnet, ("test", 7), None, None)
        assert asked[2][3] == {"resolution": 32, "limit": 5}
        recalibration_batches(dataset, 24, batch_size=3)
        assert asked[3][:2] == ("train", 3)
        assert asked[3][3]["seed"] == training["seed"]
        OfTwoClasses.space = SPACE.with_num_classes(3)
        with pytest.raises(MismatchError, match="photos has 2 classes, the supernet 3"):
            evaluate_subnet(supernet, subnet, dataset)


class TestSampling:
    """Intervals of shares."""

    def test_by_hand(self) -> None:
        # Half of four: give or take the root of (z^2 / 4)(1 / 4 + z^2 / 16) over 1 + z^2 / 4; z = 1.959964.
        low, high = sampling_interval(50, 4)
        assert (low, high) == (pytest.approx(15.0036, abs=1e-3), pytest.approx(84.9964, abs=1e-3))
        assert sampling_interval(0, 4)[0] == 0
        assert sampling_interval(100, 4)[1] == 100
        low, high = sampling_interval(50, 4, 0.5)
        assert (low, high) == (pytest.approx(34.02, abs=0.05), pytest.approx(65.98, abs=0.05))

    def test_texts(self) -> None:
        assert [percent_text(p) for p in (None, 0.0, 12.34, 100.0)] == ["-", "0.0", "12.3", "100.0"]
        assert accuracy_text(50, 4) == "50.00 (95 % interval 15 to 85)"
        assert accuracy_text(50, 100) == "50.00"
        interval = Accuracy(top1_percent=50, loss=0.0, num_images=4).interval_percent
        assert interval == sampling_interval(50, 4)


class TestBuckets:
    """A range of cost from 10 to 16 in three parts."""

    def test_which(self) -> None:
        costs = np.array([9.9, 10.0, 11.9, 12.0, 13.9, 14.0, 15.9, 16.0, 16.1])
        assert bucket_index(costs, 3, (10, 16)).tolist() == [-1, 0, 0, 1, 1, 2, 2, 2, -1]
        assert bucket_index(costs, 1, (10, 16)).tolist() == [-1, 0, 0, 0, 0, 0, 0, 0, -1]
        rounded = np.array([10 - 1e-10, 16 + 1e-10, 10 - 1e-6, 16 + 1e-6])
        assert bucket_index(rounded, 3, (10, 16)).tolist() == [0, 2, -1, -1]

    def test_the_best_of_each(self) -> None:
        costs = np.array([16.0, 10.0, 11.0, 15.0, 99.0])
        buckets = best_per_bucket(costs, np.array([70.0, 60.0, 60.0, 71.0, 99.0]), 3, (10, 16))
        assert [(b.low, b.high, b.best) for b in buckets] == [(10, 12, 1), (12, 14, None), (14, 16, 3)]

    @pytest.mark.parametrize(
        ("costs", "accuracies", "expected"),
        [
            # 60 to 12, a line to 80 at 14, 80 to the end of 10 to 20.
            ([14, 12], [80, 60], 0.2 * 60 + 0.2 * 70 + 0.6 * 80),
            ([13], [55], 55),
            # Points beyond the range count as at its ends.
            ([8, 25], [60, 80], 70),
            ([10, 20, 20], [60, 80, 90], 70),
        ],
    )
    def test_the_mean_along_the_curve(
        self, costs: Sequence[float], accuracies: Sequence[float], expected: float
    ) -> None:
        found = mean_pareto_accuracy(np.array(costs, float), np.array(accuracies, float), (10, 20))
        assert found == pytest.approx(expected)


def test_confusions_of_six_images() -> None:
    found = confusion_matrix(np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 1, 1, 1, 0]), "abc")
    assert found.counts.tolist() == [[1, 2, 0], [0, 1, 0], [1, 1, 0]]
    assert found.top1_percent == pytest.approx(100 / 3)
    a, b, c = found.classes()
    assert (a.num_images, a.num_predicted, a.recall_percent, a.precision_percent) == (
        3,
        2,
        pytest.approx(100 / 3),
        50,
    )
    assert (b.num_images, b.num_predicted, b.recall_percent, b.precision_percent) == (1, 4, 100, 25)
    assert (c.num_images, c.num_predicted, c.recall_percent, c.precision_percent) == (2, 0, 0, None)
    pairs = [(pair.class_name, pair.taken_for, pair.num_images) for pair in found.most_confused(9)]
    assert pairs == [("a", "b", 2), ("c", "a", 1), ("c", "b", 1)]
    assert found.most_confused(2) == found.most_confused(9)[:2]


def logit(share: float) -> float:
    return math.log(share / (1 - share))


class TestTrend:
    """Two subnets define a line."""

    def test_a_line_through_two_points(self) -> None:
        found = fit_trend(np.array([4000, 1000]), np.array([80.0, 60.0]), 100)
        low, high = logit(60.1 / 100.2), logit(80.1 / 100.2)
        slope = (high - low) / math.log(4)
        assert found.slope == pytest.approx(slope, rel=1e-6)
        assert found.intercept == pytest.approx(low - slope * math.log(1000), rel=1e-6)
        assert (found.lowest_macs, found.highest_macs) == (1000, 4000)
        assert (found.lowest_points, found.highest_points) == (0, 0)

    @pytest.mark.parametrize("top1", [(80.0, 60.0), (70.0, 70.0)])
    def test_without_a_rise_cost_still_counts_a_little(self, top1: tuple[float, float]) -> None:
        found = fit_trend(np.array([1000, 4000]), np.array(top1), 100)
        assert found.slope == 0.05
        assert found.intercept == pytest.approx(logit(70.1 / 100.2) - 0.05 * math.log(2000))

    def test_accuracy_stays_beyond_what_was_measured(self) -> None:
        trend = TrendFacts(intercept=-math.log(100), slope=1.0, lowest_macs=100, highest_macs=900)
        # The odds are macs / 100.
        found = trend_percent(trend, np.array([1, 100, 300, 900, 10**9]))
        assert found.tolist() == pytest.approx([50, 50, 75, 90, 90])

    @pytest.mark.parametrize(
        ("predicted", "measured", "counting_error", "expected"),
        [
            # Squares 6, products 4.5: factor 3/4; what is left, 0.375 over 3 degrees of freedom.
            ([1, -1, 2, 0], [1, -0.5, 1.5, 0.5], 0.1, 0.75 - math.sqrt(0.125 / 6)),
            ([1, -1, 2, 0], [1, -0.5, 1.5, 0.5], 0.5, 0.75 - math.sqrt(0.25 / 6)),
            ([1, -1, 2, 0], [2, -2, 4, 0], 0.1, 1),
            ([1, -1, 2, 0], [-1, 1, -2, 0], 0.1, 0),
            ([2], [1], 0.2, 0.5 - math.sqrt(0.04 / 4)),
            ([2, 0], [1, 0.3], 0.1, 0.5 - math.sqrt(0.09 / 4)),
            ([0, 0], [1, 2], 0.2, 0),
        ],
    )
    def test_how_much_is_believed(
        self, predicted: list[float], measured: list[float], counting_error: float, expected: float
    ) -> None:
        found = share_of_deviations(np.array(predicted, float), np.array(measured, float), counting_error)
        assert found == pytest.approx(expected)


def held(predicted: Sequence[float], measured: Sequence[float], rows: Sequence[int] = ()) -> HeldOut:
    count = len(predicted)
    places = np.array(rows or range(count), dtype=np.intp)
    return HeldOut("r", places, np.array(predicted, float), np.zeros(count), np.array(measured, float))


class TestAssessment:
    """Errors on held-out subnets."""

    def test_a_summary(self) -> None:
        found = held([71, 73, 72, 70], [70, 71, 73, 69]).summary()
        # Errors 1, 2, -1, 1; ranks 2 4 3 1 and 2 3 4 1: 6 * 2 / 60 is lost; one of six pairs is wrong.
        assert (found.num_subnets, found.mae_points, found.bias_points) == (4, 1.25, 0.75)
        assert (found.spearman, found.kendall) == (pytest.approx(0.8), pytest.approx(0.6667))
        third = held([1 / 3], [0]).summary()
        assert (third.bias_points, third.mae_points) == (0.3333, 0.3333)
        # Two of seven are swapped: 6 * 2 / 336 is lost.
        assert held([1, 2, 3, 4, 5, 7, 6], range(7)).summary().spearman == 0.9643

    def test_numbers_of_an_interval(self) -> None:
        measured = np.arange(101.0)
        facts = interval_facts(
            held([1, -3], [0, 0]),
            [held([6, -6], [0, 0])],
            measured,
            np.arange(0, 202.0, 2),
            origins=[held([4, -4], [0, 0])],
        )
        assert facts.noise_points == 2
        assert set(facts.inside) == {2.0}
        assert set(facts.outside) == {3.0}
        assert set(facts.unmeasured_points) == {0.0}
        assert (facts.lowest_percent, facts.highest_percent, facts.highest_surprisal) == (1, 99, 190)
        facts = interval_facts(held([1, -3], [0, 0]), [], measured, np.arange(2.0))
        assert facts.inside == facts.outside == (1.5,) * 6

    def test_top_rows(self) -> None:
        assert top_rows(np.arange(10.0), 50).tolist() == [5, 6, 7, 8, 9]
        assert top_rows(np.array([5.0, 1.0, 2.0, 3.0, 4.0])).tolist() == [0]
        # Ties: a fifth of ten are two, of two at least one.
        assert top_rows(np.full(10, 7.0)).tolist() == [0, 1]
        assert top_rows(np.full(10, 7.0), 50).tolist() == [0, 1, 2, 3, 4]
        assert top_rows(np.full(2, 7.0)).tolist() == [0]
        assert (len(top_rows(np.arange(100.0))), len(top_rows(np.full(200, 7.0)))) == (20, 40)

    def test_folds_and_what_each_is_fitted_on(self) -> None:
        folds = random_folds(7, 3, np.random.default_rng(0))
        assert [len(fold) for fold in folds] == [3, 2, 2]
        assert sorted(np.concatenate(folds).tolist()) == list(range(7))
        seen: list[list[int]] = []

        def fit(train: np.ndarray) -> Any:
            seen.append(train.tolist())
            return lambda test: np.stack([test + 1.0, test + 3.0], axis=1)

        found = hold_out("r", [np.array([2, 0]), np.array([3])], np.arange(4.0) * 10, fit)
        assert seen == [[1, 3], [0, 1, 2]]
        assert (found.rows.tolist(), found.predicted.tolist()) == ([2, 0, 3], [4, 2, 5])
        assert (found.spread.tolist(), found.measured.tolist()) == ([1, 1, 1], [20, 0, 30])
        assert found.errors.tolist() == [-16, 2, -25]


class TestChosen:
    """Subnets that a search chose."""

    def test_facts(self) -> None:
        facts = facts_of_searches(
            np.array([1.0, 2.0, 3.0, 2.0]),
            np.array([0.0, 0.0, 0.0, 5.0]),
            noise_points=2.0,
            num_subnets=4,
            how="by hand",
            ceiling_percent=80.0,
        )
        # Around the mean, 2: scores 0.5, 0, 0.5, 0; levels 5/4 times as high.
        assert (facts.how, facts.num_subnets, facts.offset_points, facts.ceiling_percent) == (
            "by hand",
            4,
            2,
            80,
        )
        assert facts.quantiles == (0.5,) * 6
        facts = facts_of_searches(
            np.array([-3.0, 0.0, 3.0, -1.0, 1.0]),
            np.full(5, 4.0),
            noise_points=3.0,
            num_subnets=1,
            how="",
            ceiling_percent=None,
        )
        # Levels are 1 from 0.5 on, where only one subnet won.
        assert facts.quantiles == pytest.approx((0.6,) * 6)
        scores = np.arange(-10.0, 11.0)
        facts = facts_of_searches(
            scores, np.zeros(21), noise_points=1.0, num_subnets=10, how="", ceiling_percent=None
        )
        # Scores 0, 1, 1, ... 10, 10: of 20 steps 11, 14 (13.2), 16 (15.4), 18 (17.6), 20 (19.8), 20.
        assert facts.quantiles == (6, 7, 8, 9, 10, 10)

    @pytest.mark.parametrize(("rows", "is_choice"), [(15, True), (14, False)])
    def test_a_search_sees_half_and_needs_eight(self, rows: int, is_choice: bool) -> None:
        # All cost the same, so that every budget takes all that a search sees.
        found = nested_searches(
            held(range(rows), range(rows)), np.full(rows, 7.0), np.random.default_rng(0), num_searches=50
        )
        assert len(found) == (50 if is_choice else 0)
        if is_choice:
            # The best of eight is among the eight best of fifteen.
            assert found.min() >= 7
            assert 14 in found
            assert found.max() == 14

    def test_costs_are_those_of_the_rows(self) -> None:
        rows = list(range(40, 80))
        costs = np.concatenate([np.full(40, 1.0), np.geomspace(10, 1000, 40)])
        chosen = nested_searches(
            held(range(40), range(40), rows), costs, np.random.default_rng(0), num_searches=200
        )
        # Predictions rise with cost: budgets spread evenly over its logarithm choose all but the cheapest.
        assert chosen.min() >= 7
        assert np.median(chosen) == pytest.approx(24, abs=4)

    def test_eight_winners_are_needed(self) -> None:
        options: Any = {"noise_points": 1.0, "ceiling_percent": 90.0}
        costs = np.geomspace(1, 1000, 60)
        facts = chosen_facts(held(range(60), [0.0] * 60), costs, np.random.default_rng(0), **options)
        assert facts is not None
        assert facts.num_subnets >= 8
        assert facts.ceiling_percent == 90
        assert facts.offset_points > 20
        # Of sixteen rows that cost the same each of the best wins half as often as the one before it.
        alike, same = held(range(16), [0.0] * 16), np.full(16, 7.0)
        found: dict[int, Any] = {}
        for seed in range(40):
            winners = nested_searches(alike, same, np.random.default_rng(seed))
            count = len(np.unique(winners))
            found[count] = chosen_facts(alike, same, np.random.default_rng(seed), **options)
            if {7, 8} <= found.keys():
                break
        assert found[7] is None
        assert found[8].num_subnets == 8

    @pytest.mark.parametrize(("rows", "leaders"), [(4, 3), (119, 3), (120, 4), (150, 5)])
    def test_the_gain_is_the_mean_of_the_leaders(self, rows: int, leaders: int) -> None:
        # Predicted in falling order, measured 0, 1, 2, ...: the leaders' mean is (leaders - 1) / 2.
        found = gain_seen(held([-i for i in range(rows)], range(rows)), -10.0)
        assert found == 10 + (leaders - 1) / 2
        assert gain_seen(held([-i for i in range(rows)], range(rows)), 50.0) == 0

    def test_the_largest_row(self) -> None:
        population = np.array([[0, 1], [2, 1], [2, 3], [2, 3]])
        assert [largest_row(population, row) for row in ([2, 3], [0, 1], [2, 2])] == [2, 0, None]


class TestStratified:
    """Subnets that spread over the range of cost."""

    def test_a_list_is_the_start_of_a_longer_one(self) -> None:
        space = SPACE.with_resolutions((24, 32))
        found = stratified_population(space, 100, seed=1)
        assert (found.shape, found.dtype) == ((100, len(Encoding(space).genes)), np.uint8)
        assert len({row.tobytes() for row in found}) == 100
        for count in (3, 40):
            np.testing.assert_array_equal(stratified_population(space, count, seed=1), found[:count])
        first = Encoding(space).decode(found[:4])
        assert list(first) == [e(r) for r in (24, 32) for e in (space.smallest, space.largest)]
        assert not np.array_equal(stratified_population(space, 100, seed=2), found)

    def test_they_are_spread_evenly_over_the_logarithm_of_cost(self) -> None:
        found = stratified_population(SPACE, 2 + 3 * NUM_STRATA, seed=0)
        cost = np.log(PopulationComplexity(SPACE).macs(found))
        share = (cost[2:] - cost.min()) / (cost.max() - cost.min())
        counts = np.histogram(share, NUM_STRATA, (0, 1))[0]
        # Three rounds, each with one of nearly every stratum.
        assert counts.max() <= 4
        assert np.median(counts) == 3
        assert (counts > 0).mean() > 0.9

    def test_a_small_space_is_given_whole(self) -> None:
        small = restrict(SPACE, depths=[1], kernel_sizes=[3], expand_ratios=[3, 6]).with_resolutions((24, 32))
        assert small.num_architectures == 2**5
        assert len(stratified_population(small, 1000, seed=0)) == 64
        assert len(stratified_population(small, 63, seed=0)) == 63

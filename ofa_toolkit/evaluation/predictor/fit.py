"""From measured accuracies to the parts of a predictor, each figure of its errors on subnets left out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.rank_correlation import spearman
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.core.rng import generator
from ofa_toolkit.evaluation.predictor.assessment import (
    RANDOM,
    TOP,
    HeldOut,
    Rows,
    interval_facts,
    random_folds,
    top_rows,
)
from ofa_toolkit.evaluation.predictor.card import IntervalFacts, PredictorError, TrendFacts
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.chosen import chosen_facts, gain_seen, largest_row
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.evaluation.predictor.predictor import Member
from ofa_toolkit.evaluation.predictor.training import fit_ensemble, predict_members, surprisal
from ofa_toolkit.evaluation.predictor.trend import fit_trend, share_of_deviations, trend_percent
from ofa_toolkit.spaces import Encoding, SearchSpace
from ofa_toolkit.spaces.encoding import Population

NUM_FOLDS = 5
CURVE_SHARES = (0.25, 0.5)
# Without each fold, without the best subnets, to all, and to the shares of the learning curve.
_NUM_FITS = NUM_FOLDS + 2 + len(CURVE_SHARES)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LearningPoint:
    """How wrong a predictor fitted on so many subnets is on unseen ones."""

    num_subnets: int
    mae_points: float
    spearman: float


@dataclass(frozen=True, kw_only=True)
class FittedPredictor:
    """The parts of a predictor and what is known of its errors.

    Attributes:
        choices: Choices that the members have rows for.
        members: The ensemble; what it adds to the trend, in points.
        surprisal: See `AccuracyPredictor`.
        trend: Accuracy by cost.
        deviations_share: How much of the fitted deviations from the trend the members hold, 0 to 1.
        interval: Numbers behind the interval.
        errors: On subnets left out.
        learning_curve: The same for smaller numbers of subnets.
    """

    choices: Choices
    members: tuple[Member, ...]
    surprisal: npt.NDArray[np.float32]
    trend: TrendFacts
    deviations_share: float
    interval: IntervalFacts
    errors: tuple[PredictorError, ...]
    learning_curve: tuple[LearningPoint, ...]


@dataclass(frozen=True, kw_only=True)
class _Data:
    """Measured subnets: their rows, multiply-accumulates and accuracies, and how to fit to some of them.

    `tell` is called after each fit.
    """

    choices: Choices
    one_hot: npt.NDArray[np.float32]
    macs: npt.NDArray[np.int64]
    top1: Floats
    num_images: int
    config: EnsembleConfig
    seed: int
    tell: Callable[[], None]

    def fit(self, train: Rows) -> tuple[TrendFacts, tuple[Member, ...]]:
        """A trend, and members fitted to deviations from it, whose mean is 0."""
        trend = fit_trend(self.macs[train], self.top1[train], self.num_images)
        targets = self.top1[train] - trend_percent(trend, self.macs[train])
        targets -= targets.mean()
        members = fit_ensemble(self.choices, self.one_hot[train], targets, config=self.config, seed=self.seed)
        self.tell()
        return trend, members

    def predict(self, train: Rows, test: Rows) -> tuple[Floats, Floats]:
        """What a fit to some subnets says of others: the trend, (N,), and deviations, (N, members)."""
        trend, members = self.fit(train)
        return trend_percent(trend, self.macs[test]), predict_members(members, self.one_hot[test])

    def without(self, test: Rows) -> Rows:
        """The rows to fit to where some are left out."""
        return np.setdiff1d(np.arange(len(self.top1)), test)


def fit_predictor(
    space: SearchSpace,
    population: Population,
    top1: Floats,
    *,
    num_images: int,
    seed: int = 0,
    config: EnsembleConfig | None = None,
    reporter: Reporter = SILENT,
) -> FittedPredictor:
    """Fit trend and ensemble, and find out how wrong they are.

    Args:
        space: Whose encoding the population has.
        population: Measured subnets, `(N, genes)`.
        top1: Their accuracies in percent, `(N,)`.
        num_images: Images that each was measured on, the same for all.
        seed: Of folds, members and nested searches.
        config: Size and effort of the ensemble's fit.
        reporter: Hears of every fit, to all subnets and to those that leave some out.
    """
    done = itertools.count()

    def tell() -> None:
        reporter.progress(Progress("Fitting the accuracy predictor", next(done), _NUM_FITS))

    tell()
    choices = Choices.of(space, space.resolutions)
    data = _Data(
        choices=choices,
        one_hot=choices.one_hot(space, population),
        macs=PopulationComplexity(space).macs(population),
        top1=top1,
        num_images=num_images,
        config=config or EnsembleConfig(),
        seed=seed,
        tell=tell,
    )
    inside, share = _random_folds(data)
    outside = _held_out(TOP, data, top_rows(top1), share)
    trend, members = data.fit(np.arange(len(top1)))
    members = tuple(_scaled(member, share) for member in members)
    deviations = predict_members(members, data.one_hot)
    fitted = trend_percent(trend, data.macs) + deviations.mean(axis=1)
    rarity = surprisal(data.one_hot)
    facts = interval_facts(inside, [outside], top1, data.one_hot @ rarity)
    facts = dataclasses.replace(facts, num_images=num_images)
    return FittedPredictor(
        choices=choices,
        members=members,
        surprisal=rarity,
        trend=dataclasses.replace(
            trend, lowest_points=float(deviations.min()), highest_points=float(deviations.max())
        ),
        deviations_share=share,
        interval=_with_searches(facts, space, population, inside, data, fitted),
        errors=(inside.summary(), outside.summary()),
        learning_curve=_learning_curve(data, share, inside.summary()),
    )


def _random_folds(data: _Data) -> tuple[HeldOut, float]:
    """Predictions for random folds, and the share of the deviations to believe, found on all of them.

    The errors of a fold are those with the share that the other folds tell.
    """
    folds = random_folds(len(data.top1), NUM_FOLDS, generator(data.seed, "predictor", "folds"))
    parts = [data.predict(data.without(fold), fold) for fold in folds]
    trend, deviations = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows, fold_of = np.concatenate(folds), np.repeat(np.arange(len(folds)), [len(fold) for fold in folds])
    mean, wanted = deviations.mean(axis=1), data.top1[rows] - trend
    counting_error = float(np.sqrt((trend * (100 - trend)).mean() / data.num_images))

    def share(of: npt.NDArray[np.bool_]) -> float:
        return share_of_deviations(mean[of], wanted[of], counting_error)

    shares = np.array([share(fold_of != number) for number in range(len(folds))])[fold_of]
    inside = HeldOut(RANDOM, rows, trend + shares * mean, shares * deviations.std(axis=1), data.top1[rows])
    return inside, share(fold_of >= 0)


def _held_out(split: str, data: _Data, test: Rows, share: float) -> HeldOut:
    trend, deviations = data.predict(data.without(test), test)
    predicted = trend + share * deviations.mean(axis=1)
    return HeldOut(split, test, predicted, share * deviations.std(axis=1), data.top1[test])


def _scaled(member: Member, share: float) -> Member:
    """A member whose output is so much smaller."""
    *first, (weight, bias) = member.layers
    factor = np.float32(share)
    return dataclasses.replace(
        member, linear=member.linear * factor, layers=(*first, (weight * factor, bias * factor))
    )


def _with_searches(
    facts: IntervalFacts,
    space: SearchSpace,
    population: Population,
    inside: HeldOut,
    data: _Data,
    fitted: Floats,
) -> IntervalFacts:
    """With what nested searches among the measured subnets tell of those that a search chooses."""
    largest = largest_row(population, Encoding(space).encode([space.largest()])[0])
    ceiling = float(data.top1.max())
    if largest is not None:
        ceiling = min(100.0, float(fitted[largest]) + gain_seen(inside, float(data.top1[largest])))
    chosen = chosen_facts(
        inside,
        data.macs,
        generator(data.seed, "predictor", "searches"),
        noise_points=facts.noise_points,
        ceiling_percent=ceiling,
    )
    return dataclasses.replace(facts, chosen=chosen)


def _learning_curve(data: _Data, share: float, whole: PredictorError) -> tuple[LearningPoint, ...]:
    """Errors for fewer subnets on one fixed fifth; the last point is that of the random folds."""
    order = generator(data.seed, "predictor", "curve").permutation(len(data.top1))
    test, rest = order[: len(order) // NUM_FOLDS], order[len(order) // NUM_FOLDS :]
    points = []
    for part in CURVE_SHARES:
        train = rest[: max(2, round(part * len(rest)))]
        trend, deviations = data.predict(train, test)
        predicted = trend + share * deviations.mean(axis=1)
        points.append(
            LearningPoint(
                num_subnets=len(train),
                mae_points=round(float(np.abs(predicted - data.top1[test]).mean()), 4),
                spearman=round(spearman(predicted, data.top1[test]), 4),
            )
        )
    last = LearningPoint(num_subnets=len(rest), mae_points=whole.mae_points, spearman=whole.spearman)
    return (*points, last)

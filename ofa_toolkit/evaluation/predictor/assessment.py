"""How wrong a predictor is on subnets it has not seen, and what interval follows from that.

Random splits flatter: a search asks about subnets that are better than, and unlike, those that were
measured. So beside random folds, whole kinds of subnets are held out: everything above the 80th percentile,
and each group of rows that came about in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.rank_correlation import kendall, spearman
from ofa_toolkit.evaluation.predictor.card import IntervalFacts, PredictorError
from ofa_toolkit.evaluation.predictor.interval import CONFIDENCES, score_quantiles

Rows = npt.NDArray[np.intp]
Values = npt.NDArray[np.floating[Any]]
Fit = Callable[[Rows], Callable[[Rows], Values]]
"""Fits to some rows and returns what predicts others: `(rows, members)`."""

RANDOM = "random"
TOP = "above the 80th percentile"


@dataclass(frozen=True)
class HeldOut:
    """Predictions for rows that took no part in fitting.

    Attributes:
        split: Name of what was held out.
        rows: Numbers of the rows that were held out.
        predicted: Mean of the ensemble in percent.
        spread: Standard deviation of the ensemble in points.
        measured: The measured accuracy in percent.
    """

    split: str
    rows: Rows
    predicted: Values
    spread: Values
    measured: Values

    @property
    def errors(self) -> Values:
        """Predicted minus measured, in points."""
        return self.predicted - self.measured

    def summary(self) -> PredictorError:
        """Figures for the card."""
        return PredictorError(
            split=self.split,
            num_subnets=len(self.rows),
            spearman=round(spearman(self.predicted, self.measured), 4),
            kendall=round(kendall(self.predicted, self.measured), 4),
            mae_points=round(float(np.abs(self.errors).mean()), 4),
            bias_points=round(float(self.errors.mean()), 4),
        )


def random_folds(num_rows: int, num_folds: int, generator: np.random.Generator) -> list[Rows]:
    """Disjoint test sets that together hold every row once."""
    return list(np.array_split(generator.permutation(num_rows), num_folds))


def top_rows(measured: Values, percentile: float = 80) -> Rows:
    """Rows above a percentile of the measured accuracy.

    Few images give few different accuracies. Where so many subnets share the best one that none lies above
    the percentile, these are the first of them, as many as the percentile leaves.
    """
    above = np.flatnonzero(measured > np.percentile(measured, percentile))
    if len(above):
        return above
    return np.flatnonzero(measured == measured.max())[: max(1, round(len(measured) * (1 - percentile / 100)))]


def hold_out(split: str, test_sets: Sequence[Rows], measured: Values, fit: Fit) -> HeldOut:
    """Fit once per test set on all other rows, and collect the predictions for the test sets."""
    everything = np.arange(len(measured))
    members = np.concatenate([fit(np.setdiff1d(everything, test))(test) for test in test_sets])
    rows = np.concatenate(list(test_sets))
    return HeldOut(split, rows, members.mean(axis=1), members.std(axis=1), measured[rows])


def interval_facts(
    inside: HeldOut,
    outside: Sequence[HeldOut],
    measured: Values,
    surprisals: Values,
    *,
    origins: Sequence[HeldOut] = (),
) -> IntervalFacts:
    """What an interval needs, from held-out predictions.

    Args:
        inside: Predictions from random folds.
        outside: Predictions for held-out kinds of subnets unlike the others, one entry a kind.
        origins: Predictions for subnets held out by how they came about, one entry an origin. A subnet
            that is asked about came about in yet another way, so the worst of them counts for all
            subnets, also for those that resemble the fitted ones.
        measured: All measured accuracies in percent.
        surprisals: Surprisal of all measured subnets in nats.
    """
    noise = float(np.abs(inside.errors).mean())

    def worst(kinds: Sequence[HeldOut]) -> tuple[float, ...]:
        quantiles = [score_quantiles(kind.errors, kind.spread, noise) for kind in kinds]
        return tuple(float(q) for q in np.max(quantiles, axis=0))

    return IntervalFacts(
        noise_points=noise,
        confidences=CONFIDENCES,
        inside=worst((inside, *origins)),
        outside=worst((inside, *origins, *outside)),
        unmeasured_points=(0.0,) * len(CONFIDENCES),
        lowest_percent=float(np.percentile(measured, 1)),
        highest_percent=float(np.percentile(measured, 99)),
        highest_surprisal=float(np.percentile(surprisals, 95)),
    )

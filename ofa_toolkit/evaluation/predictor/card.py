"""What an accuracy predictor says about itself: what it is for, how it came about, how wrong it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError

HELD_OUT_TRAINING = "held-out training images"
"""Ends `PredictorCard.dataset` where the images were set aside from the training images."""

Provenance = Literal["fitted", "transferred"]
"""`fitted`: to measured accuracies of subnets of this supernet. `transferred`: the ranking is another
predictor's, only its scale was set by measured accuracies."""


@dataclass(frozen=True, kw_only=True)
class PredictorError:
    """How wrong the method is on subnets that took no part in fitting."""

    split: str
    "Held-out subnets in words, such as `random 20 %` or `above the 80th percentile`."
    num_subnets: Annotated[int, Bounds(at_least=1)]
    "Number of subnets that were held out, over all splits."
    spearman: Annotated[float, Bounds(at_least=-1, at_most=1)]
    "Rank correlation with the measured accuracy."
    kendall: Annotated[float, Bounds(at_least=-1, at_most=1)]
    "Kendall's tau-b with the measured accuracy."
    mae_points: Annotated[float, Bounds(at_least=0)]
    "Mean absolute error in percentage points."
    bias_points: float
    "Mean of predicted minus measured, in percentage points."


@dataclass(frozen=True, kw_only=True)
class ChosenFacts:
    """How wrong predictions are of subnets that a search chose; see `predictor.chosen`."""

    how: str
    "How the search found those subnets."
    num_subnets: Annotated[int, Bounds(at_least=1)]
    "How many different ones there were."
    offset_points: float
    "Mean of predicted minus measured, in points, at least 0: taken off predictions of searched subnets."
    quantiles: tuple[float, ...]
    "Quantiles of what is left over scale, one per level."
    ceiling_percent: Annotated[float, Bounds(at_least=0, at_most=100)] | None = None
    """No searched subnet is predicted above this: the prediction for the largest network and what measured
    subnets gained over it, or the best measured one where the largest was not measured; None for no limit."""


@dataclass(frozen=True, kw_only=True)
class IntervalFacts:
    """Numbers behind the interval; see `predictor_interval.IntervalModel`."""

    noise_points: Annotated[float, Bounds(above=0)]
    "Error that the ensemble's spread does not show, in points."
    confidences: tuple[Annotated[float, Bounds(above=0, below=1)], ...]
    "Levels at which the quantiles below were taken, ascending."
    inside: tuple[float, ...]
    """Quantiles of |error| over scale for subnets like the fitted ones, one per level: of random folds, or
    the worst of leaving each origin of fitted subnets out, where there are several."""
    outside: tuple[float, ...]
    "The same for subnets unlike the fitted ones: the worst of these and of holding out kinds of subnets."
    unmeasured_points: tuple[float, ...]
    "Added at a resolution where nothing was measured, in points, one per level."
    lowest_percent: float
    "Predictions below count as unlike the fitted subnets."
    highest_percent: float
    "Predictions above count as unlike the fitted subnets."
    highest_surprisal: float
    "Subnets whose choices are rarer than this among the fitted ones (nats) count as unlike them."
    chosen: ChosenFacts | None = None
    "For subnets chosen by a search; None where nothing tells, as in files of before."
    num_images: Annotated[int, Bounds(at_least=1)] | None = None
    """Images that accuracies were measured on: how far other images of the kind may be from those is part of
    the interval. None where it is not, as in files of before."""

    def __post_init__(self) -> None:
        lengths = {len(self.confidences), len(self.inside), len(self.outside), len(self.unmeasured_points)}
        lengths |= set() if self.chosen is None else {len(self.chosen.quantiles)}
        if len(lengths) != 1 or not self.confidences:
            raise ConfigError("interval: the quantiles do not match the confidences.")


@dataclass(frozen=True, kw_only=True)
class TrendFacts:
    """Accuracy by cost, to which the ensemble adds deviations; see `predictor.trend`."""

    intercept: float
    "Logit of the accuracy where the logarithm of the multiply-accumulates is 0."
    slope: Annotated[float, Bounds(above=0)]
    "By how much the logit rises where that logarithm rises by 1."
    lowest_macs: Annotated[int, Bounds(at_least=1)]
    "Multiply-accumulates of the cheapest measured subnet; cheaper ones count as it does."
    highest_macs: Annotated[int, Bounds(at_least=1)]
    "Those of the most expensive one; more expensive ones count as it does."
    lowest_points: float = 0.0
    "Least deviation that was fitted to a measured subnet, in points; none predicted is below."
    highest_points: float = 0.0
    "The largest; none predicted is above."


@dataclass(frozen=True, kw_only=True)
class PredictorCard:
    """The description in a predictor file."""

    space: str
    "Name of the search space."
    space_identity: str
    "Identity of the search space, see `SearchSpace.identity`."
    supernet: str
    "Name of the supernet whose subnets it predicts."
    supernet_identity: str = "unknown"
    "SHA-256 of the supernet's weights, where known."
    dataset: str
    "Images that the accuracy refers to."
    unit: Literal["top-1 percent"] = "top-1 percent"
    "Images whose accuracy is predicted."
    resolutions: tuple[int, ...]
    "Input sizes it covers, in pixels."
    measured_resolutions: tuple[int, ...]
    "Those of them at which accuracies were measured."
    provenance: Provenance
    "Whether it was fitted to measured accuracies or transferred from another predictor."
    source: str
    "Source of the accuracies, with its licence."
    method: str
    "In one sentence how they became a predictor."
    num_subnets: Annotated[int, Bounds(at_least=0)]
    "Number of measured subnets that it was fitted on."
    errors: tuple[PredictorError, ...] = ()
    "Errors on held-out subnets; empty means unknown."
    caveats: tuple[str, ...] = ()
    "Reservations that a user must know before trusting it."
    interval: IntervalFacts
    "Numbers behind the interval."
    trend: TrendFacts | None = None
    "Accuracy by cost, where the ensemble tells deviations from it; None where it tells the accuracy itself."

"""Intervals around predicted accuracies that are honest about where the predictor was fitted.

A scale for each subnet, `sqrt(noise^2 + spread^2)`, combines the error that all subnets have with the
disagreement of the ensemble; quantiles of held-out |error| over scale turn it into a half width (normalised
split conformal prediction, Lei et al. 2018). Departures: Where the fitted subnets came from several
searches, a random split flatters, for subnets of one search resemble each other; the quantiles are then the
worst of leaving each search out. And there are two sets of quantiles: predictors are worse on subnets better
than nearly all fitted ones, so those for subnets unlike the fitted ones also come from holding out the best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.evaluation.predictor.card import IntervalFacts

Floats = npt.NDArray[np.floating[Any]]

CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class IntervalModel:
    """Half widths of intervals."""

    facts: IntervalFacts

    def half_width(
        self,
        spread: Floats,
        is_measured: npt.NDArray[np.bool_],
        is_extrapolation: npt.NDArray[np.bool_],
        confidence: float,
        *,
        is_chosen: bool = False,
    ) -> npt.NDArray[np.float64]:
        """Half of each interval in points, `(N,)`.

        Args:
            spread: Standard deviation of the ensemble in points, `(N,)`.
            is_measured: Whether accuracies were measured at the subnet's resolution.
            is_extrapolation: Whether the subnet is unlike the fitted ones.
            confidence: Share of intervals that contain the truth.
            is_chosen: Whether a search chose the subnets.

        Raises:
            ConfigError: The confidence is beyond the levels at which quantiles were taken.
        """
        levels = self.facts.confidences
        if not levels[0] <= confidence <= levels[-1]:
            raise ConfigError(
                f"Confidence {confidence:g} is not offered; the accuracy predictor's held-out errors "
                f"support {levels[0]:g} to {levels[-1]:g}."
            )
        inside, outside, unmeasured = (
            float(np.interp(confidence, levels, values))
            for values in (self.facts.inside, self.facts.outside, self.facts.unmeasured_points)
        )
        scale = np.hypot(self.facts.noise_points, spread.astype(np.float64))
        half = np.where(is_extrapolation, outside, inside) * scale
        if is_chosen and self.facts.chosen is not None:
            # What is known of such subnets; one unlike the measured ones keeps at least the wider interval.
            own = float(np.interp(confidence, levels, self.facts.chosen.quantiles)) * scale
            half = np.where(is_extrapolation, np.maximum(own, half), own)
        return np.where(is_measured, half, np.hypot(half, unmeasured))

    def is_inside(self, predicted: Floats, surprisal: Floats) -> npt.NDArray[np.bool_]:
        """Whether subnets resemble the fitted ones by accuracy and by choices, `(N,)`."""
        facts = self.facts
        inside: npt.NDArray[np.bool_] = np.asarray(
            (predicted >= facts.lowest_percent)
            & (predicted <= facts.highest_percent)
            & (surprisal <= facts.highest_surprisal)
        )
        return inside


def score_quantiles(errors: Floats, spread: Floats, noise_points: float) -> tuple[float, ...]:
    """Quantiles of |error| over scale at `CONFIDENCES`, with the correction for the number of rows."""
    scores = np.abs(errors) / np.hypot(noise_points, spread)
    # A new subnet's score falls into one of the n + 1 gaps between n held-out ones, hence levels (n + 1) / n
    # times as high. "higher" takes a score that occurred: between two, coverage would no longer be
    # guaranteed. With so few rows that a level passes 1 the largest score has to do.
    levels = np.minimum(1.0, np.asarray(CONFIDENCES) * (1 + 1 / len(scores)))
    return tuple(float(q) for q in np.quantile(scores, levels, method="higher"))

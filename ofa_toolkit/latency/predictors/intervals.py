"""One-sided bounds by split conformal prediction: what a network's latency stays below, with what confidence.

Source: Lei et al. 2018, Distribution-Free Predictive Inference for Regression (split conformal), with the
score log(measured / predicted), so that a bound is a factor on the prediction. The guarantee is an average
over networks drawn like the held-out ones; it says nothing about other networks, other sessions or other
clocks, so a bound is only claimed where enough such rows back it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.errors import LatencyTableError

MIN_SCORES = 500
"""Held-out networks below which no bound is claimed."""


@dataclass(frozen=True, kw_only=True)
class ConformalBound:
    """Sorted scores `log(measured / predicted)` of networks that took no part in the fit, `(n,)`."""

    scores: npt.NDArray[np.float32]

    @classmethod
    def from_held_out(
        cls, measured_ms: npt.NDArray[np.floating], predicted_ms: npt.NDArray[np.floating]
    ) -> ConformalBound | None:
        """Bounds from held-out measurements and their predictions; None where there are too few."""
        if len(measured_ms) < MIN_SCORES:
            return None
        return cls(scores=np.sort(np.log(measured_ms / predicted_ms)).astype(np.float32))

    def factor(self, confidence: float) -> float:
        """What a prediction is multiplied by, so that a new network exceeds it in 1 - confidence of cases.

        Raises:
            LatencyTableError: The confidence is not between 0 and 1, or beyond what so many scores support.
        """
        if not 0 < confidence < 1:
            raise LatencyTableError(
                f"A confidence of '{confidence:g}' is not between 0 and 1.", hint="For example 0.9."
            )
        # A new network's score is equally likely to fall into each of the n + 1 gaps between n held-out
        # scores. Hence n + 1, not n: the plain quantile of the scores would be exceeded a little too often.
        # Scores are logarithms because errors grow with the latency; a quantile of them is a factor.
        count = len(self.scores)
        rank = math.ceil((count + 1) * confidence)
        if rank > count:
            most = math.floor(1000 * count / (count + 1)) / 1000
            raise LatencyTableError(
                f"A confidence of '{confidence:g}' needs more than this table's {count} held-out networks.",
                hint=f"Ask for at most {most:g}.",
            )
        return math.exp(float(self.scores[rank - 1]))

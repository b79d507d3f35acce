"""How accuracy rises with cost: the part of a prediction that few images can tell.

The logit of the accuracy is a straight line over the logarithm of the multiply-accumulates: two numbers,
fitted to the images that each measured subnet got right (binomial logistic regression). It never falls with
cost, and beyond the costs that were measured it stays where it is. What the ensemble says of a subnet is
added to it as far as held-out subnets show that it helps (stacking, Breiman 1996).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.evaluation.predictor.card import TrendFacts

Values = npt.NDArray[np.floating[Any]]

LEAST_SLOPE = 0.05
"""Of the logit over the logarithm of the cost: at 90 %, a third of a point where cost doubles. Where
measurements show no rise, the larger of two subnets still counts as the better one."""

_EXTRA = 0.1
_STEPS = 30
_RIDGE = 1e-6  # for subnets that all cost the same


def fit_trend(macs: npt.NDArray[np.integer[Any]], top1: Values, num_images: int) -> TrendFacts:
    """Fit the line by Newton's method.

    A tenth of an image is added to those right and to those wrong, so that no accuracy is 0 or 100 %.

    Args:
        macs: Multiply-accumulates of the measured subnets, `(N,)`.
        top1: Their accuracies in percent, `(N,)`.
        num_images: Images that each was measured on.
    """
    cost = np.log(macs.astype(np.float64))
    middle = cost.mean()
    share = (top1 / 100 * num_images + _EXTRA) / (num_images + 2 * _EXTRA)
    inputs = np.stack([np.ones_like(cost), cost - middle], axis=1)
    mean = float(share.mean())
    flat = np.array([np.log(mean / (1 - mean)), LEAST_SLOPE])
    line = flat
    for _ in range(_STEPS):
        predicted = 1 / (1 + np.exp(-inputs @ line))
        curvature = inputs.T @ (inputs * (predicted * (1 - predicted))[:, None]) + _RIDGE * np.eye(2)
        line = line + np.linalg.solve(curvature, inputs.T @ (share - predicted))
    if line[1] < LEAST_SLOPE:
        line = flat
    return TrendFacts(
        intercept=float(line[0] - line[1] * middle),
        slope=float(line[1]),
        lowest_macs=int(macs.min()),
        highest_macs=int(macs.max()),
    )


def trend_percent(trend: TrendFacts, macs: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    """Accuracy in percent by cost alone, `(N,)`."""
    cost = np.log(macs.clip(trend.lowest_macs, trend.highest_macs).astype(np.float64))
    percent: npt.NDArray[np.float64] = 100 / (1 + np.exp(-(trend.intercept + trend.slope * cost)))
    return percent


def share_of_deviations(predicted: Values, measured: Values, counting_error: float) -> float:
    """How much of the ensemble's deviations from the trend to believe, 0 to 1.

    The least-squares factor for held-out subnets, less its standard error: chance alone gives small ones.

    Args:
        predicted: Deviations that fits without the subnets predict, in points, `(N,)`.
        measured: Their measured deviations, `(N,)`.
        counting_error: Standard deviation of a share counted on so many images, in points: what is left of
            the deviations counts as no smaller, however alike the subnets are on the few images.
    """
    size = float(predicted @ predicted)
    if size == 0:
        return 0.0
    factor = float(predicted @ measured) / size
    residual = measured - factor * predicted
    left = max(float(residual @ residual) / max(1, len(measured) - 1), counting_error**2)
    return min(1.0, max(0.0, factor - math.sqrt(left / size)))

"""How good a family of networks is as a whole: the best in each bucket, and the mean Pareto accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """One of the equal parts of a range of cost.

    Attributes:
        low: Start of its part of the range.
        high: End of it.
        best: Index of the most accurate candidate in it, None where it has none.
    """

    low: float
    high: float
    best: int | None


def best_per_bucket(
    costs: Values, accuracies: Values, num_buckets: int, cost_range: tuple[float, float]
) -> list[Bucket]:
    """Cut a range of cost into equal buckets and pick the most accurate candidate of each.

    DϵpS (Annavajjala et al. 2024), section 5.1, with six buckets over the supernet's MACs.

    Args:
        costs: MACs or latency of each candidate, `(N,)`.
        accuracies: Accuracy of each candidate, `(N,)`.
        num_buckets: Number of buckets.
        cost_range: The supernet's smallest and largest cost. The last bucket includes its upper end.
    """
    edges = np.linspace(*cost_range, num_buckets + 1)
    index = bucket_index(costs, num_buckets, cost_range)
    buckets = []
    for number in range(num_buckets):
        members = np.flatnonzero(index == number)
        best = int(members[np.argmax(accuracies[members])]) if len(members) else None
        buckets.append(Bucket(low=float(edges[number]), high=float(edges[number + 1]), best=best))
    return buckets


def bucket_index(costs: Values, num_buckets: int, cost_range: tuple[float, float]) -> npt.NDArray[np.int64]:
    """Which bucket each cost falls into, `(N,)`; -1 outside the range."""
    low, high = cost_range
    position = (np.asarray(costs, dtype=float) - low) / (high - low) * num_buckets
    index = np.minimum(np.floor(position), num_buckets - 1).astype(np.int64)
    # A cost at an end of the range belongs to it whatever rounding makes of it.
    outside = (position < -1e-9) | (position > num_buckets + 1e-9)
    return np.where(outside, -1, np.maximum(index, 0))


def mean_pareto_accuracy(costs: Values, accuracies: Values, cost_range: tuple[float, float]) -> float:
    """Area under accuracy over cost normalised to 0..1: the mean accuracy along the curve.

    DϵpS (Annavajjala et al. 2024), section 5.1. The paper does not say how the curve is drawn: here
    straight lines join the given points in order of cost, and the first and last value extend to the ends
    of the range.

    Args:
        costs: Costs of the points of the curve, `(N,)`, N at least 1.
        accuracies: Accuracies of the points, `(N,)`, in percent.
        cost_range: Costs that 0 and 1 stand for.
    """
    low, high = cost_range
    order = np.argsort(costs, kind="stable")
    x = np.clip((np.asarray(costs, dtype=float)[order] - low) / (high - low), 0, 1)
    y = np.asarray(accuracies, dtype=float)[order]
    x, y = np.concatenate([[0.0], x, [1.0]]), np.concatenate([y[:1], y, y[-1:]])
    return float(((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum())

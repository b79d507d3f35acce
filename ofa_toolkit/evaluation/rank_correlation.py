"""Rank correlations with ties, for judging predictors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating[Any]]

_PAIRS_AT_ONCE = 4_000_000


def spearman(first: Values, second: Values) -> float:
    """Spearman's rho, ties at their mean rank; 0 where one side is constant."""
    a, b = (ranks(values) - (len(values) + 1) / 2 for values in (first, second))
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0


def kendall(first: Values, second: Values) -> float:
    """Kendall's tau-b of two lists of length N, in O(N^2); 0 where one side is constant."""
    concordance, untied_first, untied_second = 0.0, 0.0, 0.0
    rows = max(1, _PAIRS_AT_ONCE // max(1, len(first)))
    for start in range(0, len(first), rows):
        a = np.sign(first[start : start + rows, None] - first)
        b = np.sign(second[start : start + rows, None] - second)
        concordance += float((a * b).sum())
        untied_first += float((a * a).sum())
        untied_second += float((b * b).sum())
    norm = float(np.sqrt(untied_first * untied_second))
    return concordance / norm if norm else 0.0


def ranks(values: Values) -> npt.NDArray[np.float64]:
    """Ranks from 1, equal values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2
    result: npt.NDArray[np.float64] = mean_rank[inverse].astype(np.float64)
    return result

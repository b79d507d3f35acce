"""Rank correlations with ties, for judging predictors; 0 where one side is constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating[Any]]


def spearman(first: Values, second: Values) -> float:
    """Spearman's rho of two lists of length N."""
    from scipy import stats

    return float(stats.spearmanr(first, second)[0]) if _vary(first, second) else 0.0


def kendall(first: Values, second: Values) -> float:
    """Kendall's tau-b of two lists of length N."""
    from scipy import stats

    return float(stats.kendalltau(first, second)[0]) if _vary(first, second) else 0.0


def _vary(*lists: Values) -> bool:
    # SciPy warns of a constant list and gives no number.
    return all(len(values) > 0 and float(np.ptp(values)) > 0 for values in lists)

"""Scores of predictions, and splits that keep together what belongs together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from ofa_toolkit.latency.device import Error, ErrorKind

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def mape_percent(measured: Array, predicted: Array) -> float:
    """Mean absolute error relative to the measurement."""
    return float(100 * np.mean(np.abs(predicted / measured - 1)))


def spearman(measured: Array, predicted: Array) -> float:
    """Rank correlation."""
    return float(spearmanr(measured, predicted)[0])


def deviations_of(names: Sequence[str], measured: Array, predicted: Array) -> dict[str, float]:
    """Signed errors in percent by network."""
    percent = 100 * (predicted / measured - 1)
    return {str(name): round(float(value), 1) for name, value in zip(names, percent, strict=True)}


def error_of(
    measured: Array,
    predicted: Array,
    split: str,
    space: str,
    *,
    kind: ErrorKind = "networks",
    device: str | None = None,
) -> Error:
    """The error as device files state it."""
    return Error(
        kind=kind,
        device=device,
        mape_percent=round(mape_percent(measured, predicted), 2),
        spearman=round(spearman(measured, predicted), 5) if len(measured) > 3 else None,
        num_networks=len(measured),
        split=split,
        space=space,
    )


def random_folds(count: int, num_folds: int = 5, seed: int = 0) -> Iterator[Mask]:
    """Masks of the held-out rows, each row once."""
    fold = np.random.default_rng(seed).permutation(count) % num_folds
    for number in range(num_folds):
        yield fold == number


def contiguous_folds(count: int, num_folds: int = 5) -> Iterator[Mask]:
    """Masks of held-out runs of rows: rows measured together, possibly in a session of their own."""
    fold = np.arange(count) * num_folds // count
    for number in range(num_folds):
        yield fold == number


def group_folds(groups: npt.NDArray[np.str_]) -> Iterator[Mask]:
    """Masks of held-out groups, one group at a time."""
    for group in sorted(set(groups)):
        yield groups == group


def held_out(count: int, folds: Iterator[Mask], fit_and_predict: Callable[[Mask, Mask], Array]) -> Array:
    """Predictions for each row by a fit that has not seen it; NaN where no fold holds it out.

    Args:
        count: Number of rows.
        folds: Masks of held-out rows.
        fit_and_predict: Gets the masks of rows to fit on and to predict, returns the predictions.
    """
    predicted = np.full(count, np.nan)
    for mask in folds:
        predicted[mask] = fit_and_predict(~mask, mask)
    return predicted

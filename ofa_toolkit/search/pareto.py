"""Pareto fronts of score matrices; every score is to be minimised."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Objectives = npt.NDArray[np.float64]


def pareto_rows(objectives: Objectives) -> npt.NDArray[np.intp]:
    """Rows `(N, objectives)` that no other row beats, first occurrences of equal ones, in their order.

    A row is beaten when another is at most as large everywhere and smaller somewhere.
    """
    if objectives.shape[1] == 2:
        return _front_of_two(objectives)
    order = np.lexsort(objectives.T[::-1])
    kept: list[int] = []
    for row in order:
        # In this order a row can only be beaten by, or equal to, one before it.
        if not kept or not (objectives[kept] <= objectives[row]).all(axis=1).any():
            kept.append(int(row))
    return np.sort(np.array(kept, dtype=np.intp))


def _front_of_two(objectives: Objectives) -> npt.NDArray[np.intp]:
    order = np.lexsort((objectives[:, 1], objectives[:, 0]))
    second = objectives[order, 1]
    best_before = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
    return np.sort(order[second < best_before])

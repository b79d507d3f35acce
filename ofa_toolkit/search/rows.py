"""Rows of encoded populations as values that can be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def as_keys(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Each row `(N, columns)` as one opaque value that can be compared, `(N,)`."""
    contiguous = np.ascontiguousarray(rows)
    return contiguous.view(np.dtype((np.void, contiguous.shape[1] * contiguous.itemsize))).reshape(-1)


def distinct(rows: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Positions of the first occurrence of each row, ascending."""
    _, first = np.unique(as_keys(rows), return_index=True)
    order: npt.NDArray[np.intp] = np.sort(first)
    return order

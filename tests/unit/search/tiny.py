"""A space of 72 subnets, and problems over it that can be worked out by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ofa_toolkit.search.problem import Constraint, Figure, Objective, SearchProblem
from ofa_toolkit.spaces import SearchSpace, get_space
from ofa_toolkit.spaces.encoding import Population

COMPACT = get_space("mobilenet-v3-compact")


def tiny(**second_stage: Any) -> SearchSpace:
    """Two stages of one or two blocks with kernels of 3 or 5 (codes 1 and 2), at two resolutions.

    A row is the resolution, then two blocks of the first stage and two of the second.
    """
    stage = dataclasses.replace(
        COMPACT.stages[0], depths=(1, 2), kernel_sizes=(3, 5), expand_ratios=(3,), stride=1
    )
    stages = (stage, dataclasses.replace(stage, **second_stage))
    return dataclasses.replace(COMPACT, name="tiny", stages=stages, resolutions=(32, 48))


TINY = tiny()
SMALLEST, LARGEST = [0, 1, 0, 1, 0], [1, 2, 2, 2, 2]


def rows(*lists: list[int]) -> Population:
    return np.array(lists, dtype=np.uint8).reshape(-1, 5)


def weighted(*weights: float, name: str = "weighted", offset: float = 0.0) -> Figure:
    return Figure(name=name, evaluate=lambda population: population @ np.array(weights) + offset, decimals=6)


SUM_OF_CODES = weighted(0, 1, 1, 1, 1, name="codes")


def problem(*weights: float, limit: float | None = None, space: SearchSpace = TINY) -> SearchProblem:
    """As large a weighted sum as possible; the sum of codes limited."""
    limits = [] if limit is None else [Constraint(figure=SUM_OF_CODES, limit=limit)]
    return SearchProblem(space, [Objective(figure=weighted(*weights), is_maximized=True)], limits)

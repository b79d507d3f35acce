"""Local search: from the best subnets found, take steps until none improves.

A step changes one decision, or two at once: with a tight limit the way to a better subnet usually takes
from one block what it gives to another. Pairs are too many to judge all, so those are judged whose single
steps promise most when their effects are added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.search.archive import Archive
from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.problem import Scores
from ofa_toolkit.spaces.encoding import Population


@dataclass(frozen=True, kw_only=True)
class LocalConfig:
    """How hard the local search tries."""

    num_starts: Annotated[int, Bounds(at_least=1)] = 16
    "Subnets from which steps are taken at the same time, the best ones found so far."
    num_pairs: Annotated[int, Bounds(at_least=0)] = 256
    "Pairs of steps judged for each of them."
    max_rounds: Annotated[int, Bounds(at_least=1)] = 30
    "Rounds at most; it ends before when a round brings nothing new among the starts."


def refine(archive: Archive, *, config: LocalConfig | None = None) -> None:
    """Improve what the archive holds; with several objectives, the front from members spread over it."""
    config = config or LocalConfig()
    operators = Operators(archive.problem.space)
    tried: set[bytes] = set()
    for _ in range(config.max_rounds):
        result = archive.result()
        starts = _starts(result.population, config.num_starts, is_front=len(archive.problem.objectives) > 1)
        fresh = starts[[row.tobytes() not in tried for row in starts]]
        if not len(fresh):
            return
        tried.update(row.tobytes() for row in fresh)
        neighbors, owners = operators.neighbors(fresh)
        scores = archive.evaluate(np.concatenate([fresh, neighbors]))
        if config.num_pairs:
            pairs = _promising_pairs(fresh, neighbors, owners, scores, config.num_pairs)
            pairs = pairs[operators.encoding.is_member(pairs)]
            if len(pairs):
                archive.evaluate(pairs)


def _starts(population: Population, count: int, *, is_front: bool) -> Population:
    if not is_front or len(population) <= count:
        return population[:count]
    spread = np.unique(np.linspace(0, len(population) - 1, count).astype(np.intp))
    return np.asarray(population[spread], dtype=np.uint8)


def _promising_pairs(
    starts: Population, neighbors: Population, owners: npt.NDArray[np.intp], scores: Scores, count: int
) -> Population:
    """For each start the pairs of its neighbours that promise most; some are outside the space."""
    pairs = []
    for index, start in enumerate(starts):
        own = np.flatnonzero(owners == index)
        rows = own + len(starts)
        objective = scores.objectives[rows].sum(axis=1) - scores.objectives[index].sum()
        change = scores.violations[rows] - scores.violations[index]
        pairs.append(_combine(start, neighbors[own], objective, change, scores.violations[index], count))
    return np.concatenate(pairs)


def _combine(
    start: npt.NDArray[np.uint8],
    neighbors: Population,
    objective: npt.NDArray[np.float64],
    change: npt.NDArray[np.float64],
    violation: npt.NDArray[np.float64],
    count: int,
) -> Population:
    """The pairs of steps with the best sum of effects, among those whose summed effects keep the limits."""
    a, b = np.triu_indices(len(neighbors), k=1)
    touched = neighbors != start
    independent = ~(touched.astype(np.uint8) @ touched.T.astype(np.uint8)).astype(bool)
    gain = objective[a] + objective[b]
    # Effects do not quite add up: a little more than the limit is let through and judged exactly.
    within = (violation + change[a] + change[b] <= 1e-3).all(axis=1)
    eligible = np.flatnonzero(within & independent[a, b] & (gain < 0))
    if len(eligible) > count:
        eligible = eligible[np.argpartition(gain[eligible], count)[:count]]
    return np.where(touched[a[eligible]], neighbors[a[eligible]], neighbors[b[eligible]])

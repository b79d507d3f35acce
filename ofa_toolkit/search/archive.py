"""The subnets a search has seen, as far as they can still matter, and how many it has judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.search.pareto import pareto_rows
from ofa_toolkit.search.problem import Scores, SearchProblem
from ofa_toolkit.search.rows import distinct
from ofa_toolkit.spaces.encoding import Population


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found.

    Attributes:
        population: Distinct subnets `(N, genes)`. With one objective the best first, feasible before
            infeasible ones; with several the feasible front, by the first objective.
        scores: Scores of these rows.
        num_evaluations: Subnets judged, repeated ones counted.
    """

    population: Population
    scores: Scores
    num_evaluations: int

    @property
    def is_feasible(self) -> bool:
        """Whether a subnet that meets all constraints was found."""
        return bool(self.scores.is_feasible.any())


class Archive:
    """Judges populations and keeps the best, or the front where there are several objectives.

    Args:
        problem: Objectives and constraints.
        capacity: Number of subnets kept with a single objective.
    """

    def __init__(self, problem: SearchProblem, capacity: int = 64) -> None:
        self.problem = problem
        self.num_evaluations = 0
        self._capacity = capacity
        self._population = np.zeros((0, problem.encoding.num_genes), dtype=np.uint8)
        self._scores = problem.evaluate(self._population)

    def evaluate(self, population: Population) -> Scores:
        """Judge subnets and remember the ones that matter."""
        scores = self.problem.evaluate(population)
        self.num_evaluations += len(population)
        self._add(population, scores)
        return scores

    def result(self) -> SearchResult:
        """What is remembered."""
        return SearchResult(self._population, self._scores, self.num_evaluations)

    def _add(self, population: Population, scores: Scores) -> None:
        population = np.concatenate([self._population, population])
        scores = Scores.concatenate([self._scores, scores])
        keep = (
            self._best(population, scores)
            if scores.objectives.shape[1] == 1
            else self._front(population, scores)
        )
        self._population, self._scores = population[keep], scores.take(keep)

    def _best(self, population: Population, scores: Scores) -> npt.NDArray[Any]:
        order = ranking(scores)
        if len(order) > 4 * self._capacity:
            order = order[: 4 * self._capacity]
        return order[distinct(population[order])][: self._capacity]

    def _front(self, population: Population, scores: Scores) -> npt.NDArray[Any]:
        feasible = np.flatnonzero(scores.is_feasible)
        if not len(feasible):
            return ranking(scores)[:1]
        front = feasible[pareto_rows(scores.objectives[feasible])]
        front = front[distinct(population[front])]
        return front[np.lexsort(scores.objectives[front].T[::-1])]


def ranking(scores: Scores) -> npt.NDArray[np.intp]:
    """Rows best first: by violation, then by the objectives in order; ties stay in the order they came."""
    order: npt.NDArray[np.intp] = np.lexsort((*scores.objectives.T[::-1], scores.total_violation))
    return order

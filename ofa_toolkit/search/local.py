"""Local search: from the best subnets found, take steps until none improves.

A step changes one decision, or two at once: with a tight limit the way to a better subnet usually takes
from one block what it gives to another. Pairs are too many to judge all, so those are judged whose single
steps promise most when their effects are added up.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.search.archive import Archive
from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.problem import Constraint, Scores, SearchProblem
from ofa_toolkit.spaces.encoding import Population

_POLISHED = 24


@dataclass(frozen=True, kw_only=True)
class LocalConfig:
    """How hard the local search tries."""

    num_starts: Annotated[int, Bounds(at_least=1)] = 12
    "Subnets from which steps are taken at the same time, the best ones found so far."
    num_pairs: Annotated[int, Bounds(at_least=0)] = 256
    "Pairs of steps judged for each of them."
    max_rounds: Annotated[int, Bounds(at_least=1)] = 30
    "Rounds at most; it ends before when a round brings nothing new among the starts."


def polish_front(archive: Archive, *, config: LocalConfig | None = None) -> None:
    """Improve a front: from members spread over it, look for a better first objective at the same costs.

    Each of them becomes a search with one objective and its other values as limits. It finds improvements
    that a genetic algorithm misses, which spends its effort on the whole front.
    """
    config = config or LocalConfig()
    problem = archive.problem
    front = archive.result()
    if not front.is_feasible:
        return
    costs = front.scores.objectives[:, 1:]
    for index, budget in _budgets(costs):
        limits = [
            Constraint(figure=objective.figure, limit=-value, is_minimum=True)
            if objective.is_maximized
            else Constraint(figure=objective.figure, limit=value)
            for objective, value in zip(problem.objectives[1:], budget.tolist(), strict=True)
            if value
        ]
        inner = Archive(SearchProblem(problem.space, problem.objectives[:1], [*problem.constraints, *limits]))
        inner.evaluate(front.population[max(0, index - 2) : index + 3])
        refine(inner, config=dataclasses.replace(config, num_starts=4, max_rounds=6))
        archive.num_evaluations += inner.num_evaluations
        archive.evaluate(inner.result().population)


def _budgets(costs: npt.NDArray[np.float64]) -> list[tuple[int, npt.NDArray[np.float64]]]:
    """Costs to search at, each with the member of the front to start from.

    Members spread evenly by rank and, where there is one cost, values spread evenly over it: members
    crowd where accuracy is cheap.
    """
    chosen = [(int(i), costs[i]) for i in _spread(len(costs), _POLISHED)]
    if costs.shape[1] == 1:
        values = costs[:, 0]
        for value in np.linspace(values.min(), values.max(), _POLISHED):
            below = np.flatnonzero(values <= value)
            chosen.append((int(below[values[below].argmax()]), np.array([value])))
    return chosen


def refine(archive: Archive, *, config: LocalConfig | None = None) -> None:
    """Improve what an archive with a single objective holds."""
    config = config or LocalConfig()
    operators = Operators(archive.problem.space)
    tried: set[bytes] = set()
    for _ in range(config.max_rounds):
        result = archive.result()
        starts = result.population[: config.num_starts]
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


def _spread(length: int, count: int) -> npt.NDArray[np.intp]:
    """At most `count` positions spread evenly over `length`."""
    number = min(count, length)
    return np.arange(number) * (length - 1) // max(1, number - 1)


def _promising_pairs(
    starts: Population, neighbors: Population, owners: npt.NDArray[np.intp], scores: Scores, count: int
) -> Population:
    """For each start the pairs of its neighbours that promise most; some are outside the space."""
    pairs = []
    for index, start in enumerate(starts):
        own = np.flatnonzero(owners == index)
        rows = own + len(starts)
        objective = scores.objectives[rows, 0] - scores.objectives[index, 0]
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

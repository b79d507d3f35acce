"""What is searched for: figures of encoded populations, some optimised, some limited.

Nothing here knows what a figure means or where it comes from; pipelines put accuracy predictors, latency
tables and complexity counts in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.space import SearchSpace

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """A number that every subnet has.

    Attributes:
        name: Unique in a problem, with its unit where it has one, such as `latency_ms:jetson-nano`.
        evaluate: From encoded subnets `(N, genes)` to values `(N,)`.
        decimals: Values are rounded to so many decimals before anything is ranked, so that the last bits of
            floating-point sums, which depend on the number of threads, decide nothing.
    """

    name: str
    evaluate: Callable[[Population], npt.NDArray[Any]]
    decimals: int

    def __call__(self, population: Population) -> Values:
        """Rounded values `(N,)`."""
        values = np.asarray(self.evaluate(population), dtype=np.float64)
        return values.round(self.decimals)


@dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """A figure to make small, or large."""

    figure: Figure
    is_maximized: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Constraint:
    """A limit on a figure.

    Attributes:
        figure: The figure that is limited.
        limit: The largest value allowed, or the smallest where `is_minimum`.
        is_minimum: Whether values must not be below the limit.
    """

    figure: Figure
    limit: float
    is_minimum: bool = False

    def violation(self, values: Values) -> Values:
        """How far beyond the limit, relative to it; zero or less where it is met."""
        excess = self.limit - values if self.is_minimum else values - self.limit
        return excess / abs(self.limit)


@dataclass(frozen=True, eq=False)
class Scores:
    """A population judged.

    Attributes:
        objectives: `(N, objectives)`; all are minimised.
        violations: `(N, constraints)`, relative; positive where a limit is exceeded.
    """

    objectives: Values
    violations: Values

    @property
    def total_violation(self) -> Values:
        """Sum of the positive violations, `(N,)`; zero for feasible rows."""
        total: Values = np.maximum(self.violations, 0).sum(axis=1)
        return total

    @property
    def is_feasible(self) -> npt.NDArray[np.bool_]:
        """Which rows meet all limits, `(N,)`."""
        return np.asarray((self.violations <= 0).all(axis=1), dtype=np.bool_)

    def take(self, rows: npt.NDArray[Any]) -> Scores:
        """Some rows."""
        return Scores(self.objectives[rows], self.violations[rows])

    @staticmethod
    def concatenate(parts: Sequence[Scores]) -> Scores:
        """The rows of all parts, in order."""
        return Scores(
            np.concatenate([part.objectives for part in parts]),
            np.concatenate([part.violations for part in parts]),
        )


class SearchProblem:
    """Objectives and constraints over the subnets of a space.

    Args:
        space: The space to search; its encoding is that of every population.
        objectives: At least one.
        constraints: Limits that all must hold.
    """

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
    ) -> None:
        if not objectives:
            raise ValueError("A search problem needs an objective.")
        self.space = space
        self.encoding = Encoding(space)
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)

    def evaluate(self, population: Population) -> Scores:
        """Judge encoded subnets; a figure that is both optimised and limited is computed once."""
        known: dict[int, Values] = {}

        def values(figure: Figure) -> Values:
            if id(figure) not in known:
                known[id(figure)] = figure(population)
            return known[id(figure)]

        objectives = [
            -values(objective.figure) if objective.is_maximized else values(objective.figure)
            for objective in self.objectives
        ]
        violations = [constraint.violation(values(constraint.figure)) for constraint in self.constraints]
        return Scores(
            np.stack(objectives, axis=1),
            np.stack(violations, axis=1) if violations else np.zeros((len(population), 0)),
        )

    def without(self, constraint: Constraint) -> SearchProblem:
        """The same problem with one constraint dropped."""
        return SearchProblem(
            self.space, self.objectives, [other for other in self.constraints if other is not constraint]
        )

    def toward_feasibility(self) -> SearchProblem:
        """The problem whose only objective is to violate the constraints as little as possible."""
        excess = Figure(
            name="total violation",
            evaluate=lambda population: self.evaluate(population).total_violation,
            decimals=9,
        )
        return SearchProblem(self.space, [Objective(figure=excess)])

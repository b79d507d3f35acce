"""Children of a population: crossover and mutation of parents, none of them ever made twice."""

from __future__ import annotations

import numpy as np

from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.rows import as_keys
from ofa_toolkit.spaces.encoding import Population

_ATTEMPTS = 2
"""Late generations find few new subnets; to insist on more of them costs time and finds nothing better."""


class Variation:
    """Makes new distinct children.

    Args:
        operators: Crossover and mutation in the space.
        mutation_rate: Probability of redrawing each gene of a mutant.
        crossover_share: Share of children with two parents; the others are mutants of one.
        random: Generator that choices are drawn from.
        first: The first population; its members are not made again.
    """

    def __init__(
        self,
        operators: Operators,
        *,
        mutation_rate: float,
        crossover_share: float,
        random: np.random.Generator,
        first: Population,
    ) -> None:
        self._operators = operators
        self._mutation_rate = mutation_rate
        self._crossover_share = crossover_share
        self._random = random
        self._seen = set(as_keys(first).tolist())

    def children(self, parents: Population, count: int) -> Population:
        """At most `count` children that were never made before, `(M, genes)`.

        Fewer where most subnets around the parents are known already: the attempts are bounded.
        """
        found = parents[:0]
        for _attempt in range(_ATTEMPTS):
            made = self._vary(parents, count)
            is_new = []
            for key in as_keys(made).tolist():
                is_new.append(key not in self._seen)
                self._seen.add(key)
            found = np.concatenate([found, made[is_new]])
            if len(found) >= count:
                break
        return found[:count]

    def _vary(self, parents: Population, count: int) -> Population:
        draw = self._random.integers(len(parents), size=(2, count))
        num_crossed = round(count * self._crossover_share)
        first, second = parents[draw[0, :num_crossed]], parents[draw[1, :num_crossed]]
        mutants = parents[draw[0, num_crossed:]]
        return np.concatenate(
            [
                self._operators.cross(first, second, self._random),
                self._operators.mutate(mutants, self._mutation_rate, self._random),
            ]
        )

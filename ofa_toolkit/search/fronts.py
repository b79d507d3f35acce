"""NSGA-II over encoded populations, run by pymoo (Deb et al. 2002; Blank & Deb 2020, pymoo).

pymoo ranks and selects survivors, feasible before infeasible; children are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ofa_toolkit.search.problem import Scores, SearchProblem
from ofa_toolkit.search.variation import Variation
from ofa_toolkit.spaces.encoding import Population


def evolve_front(
    problem: SearchProblem,
    evaluate: Callable[[Population], Scores],
    *,
    first: Population,
    variation: Variation,
    num_children: int,
    num_generations: int,
    seed: int,
) -> None:
    """Run NSGA-II from a first population; every subnet goes through `evaluate`, which keeps the front."""
    # pymoo loads SciPy: half a second that only a search for a front should cost.
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.duplicate import NoDuplicateElimination
    from pymoo.core.problem import Problem
    from pymoo.termination.max_gen import MaximumGenerationTermination

    algorithm = NSGA2(
        pop_size=len(first),
        n_offsprings=num_children,
        sampling=first,
        mating=_Mating(variation),
        eliminate_duplicates=NoDuplicateElimination(),
    )
    algorithm.setup(
        Problem(
            n_var=problem.encoding.num_genes,
            n_obj=len(problem.objectives),
            n_ieq_constr=len(problem.constraints),
            xl=0,
            xu=[gene.cardinality - 1 for gene in problem.encoding.genes],
            vtype=int,
        ),
        termination=MaximumGenerationTermination(num_generations),
        seed=seed,
        verbose=False,
    )
    while algorithm.has_next():
        children = algorithm.ask()
        if children is None or len(children) == 0:
            break
        scores = evaluate(children.get("X").astype(np.uint8))
        children.set("F", scores.objectives)
        if problem.constraints:
            children.set("G", scores.violations)
        # Marks them as evaluated, so that pymoo does not ask its own problem object.
        for individual in children:
            individual.evaluated.update(("F", "G", "H"))
        algorithm.tell(infills=children)


class _Mating:
    """Takes the place of pymoo's mating: every survivor may have children."""

    def __init__(self, variation: Variation) -> None:
        self._variation = variation

    def do(self, problem: Any, pop: Any, n_offsprings: int, **_: Any) -> Any:
        """New children of the population `pop`, at most `n_offsprings`."""
        from pymoo.core.population import Population as PymooPopulation

        del problem
        return PymooPopulation.new("X", self._variation.children(pop.get("X").astype(np.uint8), n_offsprings))

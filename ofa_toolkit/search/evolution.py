"""Evolutionary search by pymoo: a genetic algorithm under constraints, and NSGA-II for fronts.

pymoo runs the loop, ranks and selects survivors (Blank & Deb 2020, pymoo; Deb et al. 2002, NSGA-II, with
feasible before infeasible). Variation is ours, for the space's encoding. Source of the scheme: OFA's
evolutionary finder (Cai et al. 2020). Departures: children are never duplicates, the last generation is
ranked like the others, subnets beyond the limits stay in the population while there are too few within
them instead of being redrawn without end, the uniform subnets take part, and a local search finishes
(`local.refine`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.search.archive import Archive, SearchResult
from ofa_toolkit.search.local import LocalConfig, polish_front, refine
from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.problem import SearchProblem
from ofa_toolkit.search.rows import distinct
from ofa_toolkit.search.uniform import uniform_subnets

if TYPE_CHECKING:
    from pymoo.core.algorithm import Algorithm


@dataclass(frozen=True, kw_only=True)
class EvolutionConfig:
    """How long and how hard to search."""

    population_size: Annotated[int, Bounds(at_least=4)] = 100
    "Subnets that survive each generation."
    num_children: Annotated[int, Bounds(at_least=1)] = 200
    "New subnets per generation."
    num_generations: Annotated[int, Bounds(at_least=1)] = 60
    "Generations, the first random one counted."
    mutation_rate: Annotated[float, Bounds(above=0, at_most=1)] = 0.15
    "Probability of redrawing each gene of a mutant."
    crossover_share: Annotated[float, Bounds(at_least=0, at_most=1)] = 0.5
    "Share of children that have two parents; the others are mutants of one."
    parent_share: Annotated[float, Bounds(above=0, at_most=1)] = 0.5
    "Share of the survivors, the best, that have children; with several objectives all of the front may."
    local: LocalConfig | None = field(default_factory=LocalConfig)
    "The local search that finishes; none to leave it out."

    def __post_init__(self) -> None:
        if round(self.population_size * self.parent_share) < 2:
            raise ConfigError("parent_share: fewer than two parents are left.")


def evolve(problem: SearchProblem, *, config: EvolutionConfig | None = None, seed: int = 0) -> SearchResult:
    """Search by evolution; equal seeds give equal results, whatever the number of threads.

    Args:
        problem: Objectives and constraints; several objectives give a front.
        config: Effort.
        seed: Start of the random streams.
    """
    config = config or EvolutionConfig()
    archive = Archive(problem)
    algorithm = _algorithm(problem, config, seed)
    while algorithm.has_next():
        children = algorithm.ask()
        if children is None or len(children) == 0:
            break
        scores = archive.evaluate(children.get("X").astype(np.uint8))
        children.set("F", scores.objectives)
        if problem.constraints:
            children.set("G", scores.violations)
        # Marks them as evaluated, so that pymoo does not ask its own problem object.
        for individual in children:
            individual.evaluated.update(("F", "G", "H"))
        algorithm.tell(infills=children)
    # What one would pick by hand takes part, so that a short search cannot end below it.
    archive.evaluate(uniform_subnets(problem.space))
    if config.local is not None:
        finish = refine if len(problem.objectives) == 1 else polish_front
        finish(archive, config=config.local)
    return archive.result()


def _algorithm(problem: SearchProblem, config: EvolutionConfig, seed: int) -> Algorithm:
    # pymoo loads SciPy: half a second that only a search should cost.
    from pymoo.core.duplicate import NoDuplicateElimination
    from pymoo.core.problem import Problem
    from pymoo.termination.max_gen import MaximumGenerationTermination

    is_front = len(problem.objectives) > 1
    if is_front:
        from pymoo.algorithms.moo.nsga2 import NSGA2

        chosen = NSGA2
    else:
        from pymoo.algorithms.soo.nonconvex.ga import GA

        chosen = GA
    operators = Operators(problem.space)
    random = generator(seed, "search", "evolution")
    first = operators.sample(config.population_size, random)
    first = first[distinct(first)]
    algorithm = chosen(
        pop_size=len(first),
        n_offsprings=config.num_children,
        sampling=first,
        mating=_Mating(operators, config, random, is_front=is_front),
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
        termination=MaximumGenerationTermination(config.num_generations),
        seed=seed,
        verbose=False,
    )
    return algorithm


class _Mating:
    """Makes a generation of new distinct children; takes the place of pymoo's mating."""

    def __init__(
        self,
        operators: Operators,
        config: EvolutionConfig,
        random: np.random.Generator,
        *,
        is_front: bool,
    ) -> None:
        self._operators = operators
        self._config = config
        self._random = random
        self._is_front = is_front
        self._seen: set[bytes] = set()

    def do(self, problem: Any, pop: Any, n_offsprings: int, **_: Any) -> Any:
        """Children of the ranked population `pop` that were never judged before, at most `n_offsprings`."""
        from pymoo.core.population import Population

        del problem
        rows = pop.get("X").astype(np.uint8)
        if not self._seen:
            self._seen.update(row.tobytes() for row in rows)
        parents = rows if self._is_front else rows[: max(2, round(len(rows) * self._config.parent_share))]
        children: list[npt.NDArray[np.uint8]] = []
        # Bounded: in a space that is nearly used up, or around a parent that has few neighbours, fewer
        # children than asked for are new.
        for _attempt in range(8):
            for child in self._vary(parents, n_offsprings):
                key = child.tobytes()
                if key not in self._seen:
                    self._seen.add(key)
                    children.append(child)
            if len(children) >= n_offsprings:
                break
        return Population.new("X", np.array(children[:n_offsprings]).reshape(-1, rows.shape[1]))

    def _vary(self, parents: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
        draw = self._random.integers(len(parents), size=(2, count))
        num_crossed = round(count * self._config.crossover_share)
        crossed = self._operators.cross(
            parents[draw[0, :num_crossed]], parents[draw[1, :num_crossed]], self._random
        )
        mutants = self._operators.mutate(
            parents[draw[0, num_crossed:]], self._config.mutation_rate, self._random
        )
        return np.concatenate([crossed, mutants])

"""Evolutionary search: our own loop for one objective under constraints, NSGA-II by pymoo for fronts.

The scheme is that of OFA's evolutionary finder (Cai et al. 2020): the best part of the survivors has
children by crossover and by mutation, and the best of parents and children survive. Departures: children
are never duplicates, the last generation is ranked like the others, subnets beyond the limits stay in the
population while there are too few within them (ranked by how far beyond) instead of being redrawn without
end, the uniform subnets take part, and a local search finishes (`local.refine`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.search.archive import Archive, SearchResult, ranking
from ofa_toolkit.search.fronts import evolve_front
from ofa_toolkit.search.local import LocalConfig, polish_front, refine
from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.problem import Scores, SearchProblem
from ofa_toolkit.search.rows import distinct
from ofa_toolkit.search.uniform import uniform_subnets
from ofa_toolkit.search.variation import Variation
from ofa_toolkit.spaces.encoding import Population


@dataclass(frozen=True, kw_only=True)
class EvolutionConfig:
    """How long and how hard to search."""

    population_size: Annotated[int, Bounds(at_least=4)] = 200
    "Subnets that survive each generation."
    num_children: Annotated[int, Bounds(at_least=1)] = 300
    "New subnets per generation."
    num_generations: Annotated[int, Bounds(at_least=1)] = 20
    "Generations, the first random one counted."
    mutation_rate: Annotated[float, Bounds(above=0, at_most=1)] = 0.15
    "Probability of redrawing each gene of a mutant."
    crossover_share: Annotated[float, Bounds(at_least=0, at_most=1)] = 0.7
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
    random = generator(seed, "search", "evolution")
    operators = Operators(problem.space)
    first = operators.sample(config.population_size, random)
    first = first[distinct(first)]
    variation = Variation(
        operators,
        mutation_rate=config.mutation_rate,
        crossover_share=config.crossover_share,
        random=random,
        first=first,
    )
    is_front = len(problem.objectives) > 1
    if is_front:
        evolve_front(
            problem,
            archive.evaluate,
            first=first,
            variation=variation,
            num_children=config.num_children,
            num_generations=config.num_generations,
            seed=seed,
        )
    else:
        _evolve_best(archive, first, variation, config)
    # What one would pick by hand takes part, so that a short search cannot end below it.
    archive.evaluate(uniform_subnets(problem.space))
    if config.local is not None:
        (polish_front if is_front else refine)(archive, config=config.local)
    return archive.result()


def _evolve_best(archive: Archive, first: Population, variation: Variation, config: EvolutionConfig) -> None:
    """Generations with a single objective: survivors are kept best first."""
    population, scores = first, archive.evaluate(first)
    for _generation in range(1, config.num_generations):
        order = ranking(scores)[: config.population_size]
        population, scores = population[order], scores.take(order)
        num_parents = max(2, round(len(population) * config.parent_share))
        children = variation.children(population[:num_parents], config.num_children)
        if not len(children):
            return
        population = np.concatenate([population, children])
        scores = Scores.concatenate([scores, archive.evaluate(children)])

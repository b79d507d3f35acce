"""Evolution against exhaustive search, seeds, archives and fronts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.search.archive import Archive
from ofa_toolkit.search.baselines import exhaustive_search, random_search
from ofa_toolkit.search.evolution import EvolutionConfig, evolve
from ofa_toolkit.search.local import LocalConfig, refine
from ofa_toolkit.search.pareto import pareto_rows
from ofa_toolkit.search.problem import Constraint, Figure, Objective, SearchProblem
from ofa_toolkit.search.uniform import uniform_subnets
from ofa_toolkit.spaces import SearchSpace, get_space
from ofa_toolkit.spaces.encoding import Population

QUICK = EvolutionConfig(population_size=20, num_children=20, num_generations=6)


def rugged(space: SearchSpace, seed: int = 0) -> Figure:
    """A figure with pairwise interactions between neighbouring genes."""
    random = np.random.default_rng(seed)
    table = random.normal(size=(40, 40, 20)) + np.linspace(0, 3, 20)

    def evaluate(population: Population) -> np.ndarray:
        rows = population.astype(np.int64)
        columns = np.arange(rows.shape[1] - 1) % 40
        return table[columns, rows[:, :-1], rows[:, 1:]].sum(axis=1)

    return Figure(name="rugged", evaluate=evaluate, decimals=6)


def macs(space: SearchSpace) -> Figure:
    return Figure(name="macs", evaluate=PopulationComplexity(space).macs, decimals=0)


def compound_problem(limit: float = 300e6) -> SearchProblem:
    space = get_space("ofa-mobilenet-v3-w1.0-compound").with_resolutions((224,))
    return SearchProblem(
        space,
        [Objective(figure=rugged(space), is_maximized=True)],
        [Constraint(figure=macs(space), limit=limit)],
    )


@pytest.mark.parametrize("limit", [200e6, 300e6, 1e9])
def test_evolution_equals_exhaustive_search_on_a_compound_space(limit: float) -> None:
    problem = compound_problem(limit)
    best = exhaustive_search(problem)
    found = evolve(problem, config=QUICK, seed=1)
    assert best.num_evaluations == 243
    assert found.scores.objectives[0, 0] == best.scores.objectives[0, 0]
    assert (found.population[0] == best.population[0]).all()


def test_front_equals_exhaustive_search_on_a_compound_space() -> None:
    space = get_space("ofa-mobilenet-v3-w1.0-compound").with_resolutions((224,))
    problem = SearchProblem(
        space, [Objective(figure=rugged(space), is_maximized=True), Objective(figure=macs(space))]
    )
    best = exhaustive_search(problem)
    config = EvolutionConfig(population_size=40, num_children=40, num_generations=12)
    found = evolve(problem, config=config, seed=0)
    assert {row.tobytes() for row in found.population} == {row.tobytes() for row in best.population}


def test_same_seed_same_answer_and_another_seed_another_path() -> None:
    space = get_space("mobilenet-v3-compact")
    problem = SearchProblem(
        space, [Objective(figure=rugged(space))], [Constraint(figure=macs(space), limit=3e6)]
    )
    # Without the local search, which leads every path to the same best subnets of so small a space.
    config = dataclasses.replace(QUICK, local=None)
    first, again, other = (evolve(problem, config=config, seed=seed) for seed in (5, 5, 6))
    assert (first.population == again.population).all()
    assert first.num_evaluations == again.num_evaluations
    assert first.population.tobytes() != other.population.tobytes()
    first, again, other = (evolve(problem, config=QUICK, seed=seed) for seed in (5, 5, 8))
    assert (first.population == again.population).all()
    assert first.num_evaluations == again.num_evaluations != other.num_evaluations


@pytest.mark.parametrize("name", ["ofa-resnet50", "ofa-mobilenet-v3-w1.0"])
def test_a_short_search_is_never_worse_than_the_best_uniform_subnet(name: str) -> None:
    space = get_space(name)
    problem = SearchProblem(
        space, [Objective(figure=macs(space), is_maximized=True)], [Constraint(figure=macs(space), limit=4e8)]
    )
    config = EvolutionConfig(population_size=10, num_children=10, num_generations=2, local=None)
    found = evolve(problem, config=config, seed=0)
    uniform = problem.evaluate(uniform_subnets(space))
    assert found.is_feasible
    assert found.scores.objectives[0, 0] <= uniform.objectives[uniform.is_feasible, 0].min()


def test_last_bits_of_the_scores_decide_nothing() -> None:
    """Sums that differ in their last bits, as with another number of threads, give the same answer."""
    space = get_space("mobilenet-v3-compact")
    exact = rugged(space)
    noise = np.random.default_rng(1)

    def trembling(population: Population) -> np.ndarray:
        return exact.evaluate(population) * (1 + 1e-12 * noise.standard_normal(len(population)))

    results = [
        evolve(SearchProblem(space, [Objective(figure=figure)]), config=QUICK, seed=2)
        for figure in (exact, Figure(name="trembling", evaluate=trembling, decimals=6))
    ]
    assert (results[0].population == results[1].population).all()


def test_result_is_ranked_distinct_and_within_limits() -> None:
    problem = compound_problem()
    result = evolve(problem, config=QUICK, seed=0)
    feasible = result.scores.is_feasible
    assert feasible[0]
    assert (np.diff(feasible.astype(int)) <= 0).all()
    assert (np.diff(result.scores.objectives[feasible, 0]) >= 0).all()
    assert (np.diff(result.scores.total_violation) >= 0).all()
    assert len({row.tobytes() for row in result.population}) == len(result.population)
    again = problem.evaluate(result.population)
    assert (again.objectives == result.scores.objectives).all()


def test_evolution_beats_random_search_of_equal_evaluations() -> None:
    space = get_space("ofa-mobilenet-v3-w1.0").with_resolutions((224,))
    problem = SearchProblem(
        space, [Objective(figure=rugged(space))], [Constraint(figure=macs(space), limit=300e6)]
    )
    found = evolve(problem, config=QUICK, seed=0)
    blind = random_search(problem, num_evaluations=found.num_evaluations, seed=0)
    assert blind.num_evaluations == found.num_evaluations
    assert found.scores.objectives[0, 0] < blind.scores.objectives[0, 0]


def test_local_search_never_loses_and_stops() -> None:
    problem = compound_problem()
    archive = Archive(problem)
    archive.evaluate(problem.encoding.encode([problem.space.smallest()]))
    before = archive.result().scores.objectives[0, 0]
    refine(archive, config=LocalConfig(num_starts=2, num_pairs=8, max_rounds=50))
    result = archive.result()
    assert result.scores.objectives[0, 0] < before
    operators_best = problem.evaluate(result.population[:1])
    assert operators_best.is_feasible.all()


def test_infeasible_results_keep_the_nearest() -> None:
    problem = compound_problem(limit=1e6)
    result = evolve(problem, config=QUICK, seed=0)
    assert not result.is_feasible
    nearest = evolve(problem.toward_feasibility(), config=QUICK, seed=0)
    smallest = problem.encoding.encode([problem.space.smallest()])
    assert (nearest.population[0] == smallest[0]).all()


def test_a_large_space_is_not_searched_exhaustively() -> None:
    space = get_space("ofa-mobilenet-v3-w1.0")
    with pytest.raises(ConfigError, match="exhaustive search takes at most"):
        exhaustive_search(SearchProblem(space, [Objective(figure=macs(space))]))


@pytest.mark.parametrize("num_objectives", [2, 3])
def test_fronts_have_no_dominated_member_and_miss_none(num_objectives: int) -> None:
    scores = np.random.default_rng(0).integers(0, 12, size=(300, num_objectives)).astype(float)
    front = pareto_rows(scores)
    beats = (scores[:, None] <= scores).all(axis=2) & (scores[:, None] < scores).any(axis=2)
    dominated = beats.any(axis=0)
    assert not dominated[front].any()
    kept = {tuple(row) for row in scores[front]}
    assert len(kept) == len(front)
    assert kept == {tuple(row) for row in scores[~dominated]}

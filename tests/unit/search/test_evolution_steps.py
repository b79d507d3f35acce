"""Evolution, its children, and what it is compared with, step by step."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
import pytest

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.search import baselines, evolution
from ofa_toolkit.search.baselines import exhaustive_search, random_search
from ofa_toolkit.search.evolution import EvolutionConfig, evolve
from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.problem import Constraint, Figure, Objective, SearchProblem
from ofa_toolkit.search.uniform import uniform_subnets
from ofa_toolkit.search.variation import Variation
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.encoding import Encoding, Population
from tests.unit.search.tiny import LARGEST, SMALLEST, SUM_OF_CODES, TINY, problem, rows, tiny, weighted

WIDE = get_space("ofa-mobilenet-v3-w1.0").with_resolutions((224,))


def first_gene(name: str, sign: float) -> Objective:
    return Objective(
        figure=Figure(name=name, evaluate=lambda p: sign * p.astype(float).sum(axis=1), decimals=0)
    )


@pytest.mark.parametrize("objectives", [[first_gene("a", 1)], [first_gene("a", 1), first_gene("b", -1)]])
@pytest.mark.parametrize("num_generations", [1, 3])
def test_evolution_judges_a_first_population_children_and_the_uniform_subnets(
    objectives: list[Objective], num_generations: int
) -> None:
    """Three depths by three kernels by three ratios are 27 uniform subnets."""
    config = EvolutionConfig(population_size=10, num_children=8, num_generations=num_generations, local=None)
    found = evolve(SearchProblem(WIDE, objectives), config=config, seed=0)
    assert found.num_evaluations == 10 + 8 * (num_generations - 1) + 27


def test_the_best_share_of_the_survivors_have_children(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[npt.NDArray[np.float64]] = []
    own = problem(*[1.0] * 21, space=WIDE)

    class Recorded(Variation):
        def children(self, parents: Population, count: int) -> Population:
            seen.append(parents.astype(float).sum(axis=1))
            return super().children(parents, count)

    monkeypatch.setattr(evolution, "Variation", Recorded)
    config = EvolutionConfig(
        population_size=10,
        num_children=30,
        num_generations=4,
        parent_share=0.3,
        crossover_share=0.0,
        local=None,
    )
    evolve(own, config=config, seed=0)
    assert [len(parents) for parents in seen] == [3, 3, 3]
    for before, after in itertools.pairwise(seen):
        assert (np.diff(before) <= 0).all()
        assert after[-1] >= before[-1]  # survivors are the best of parents and children
    assert seen[-1][0] > seen[0][1]


def test_two_have_children_where_a_space_has_few_subnets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four subnets a fifth would be one."""
    space = dataclasses.replace(tiny(kernel_sizes=(3,)), resolutions=(32,))
    space = dataclasses.replace(space, stages=(space.stages[1], space.stages[1]))
    seen: list[int] = []

    class Recorded(Variation):
        def children(self, parents: Population, count: int) -> Population:
            seen.append(len(parents))
            return super().children(parents, count)

    monkeypatch.setattr(evolution, "Variation", Recorded)
    config = EvolutionConfig(population_size=10, parent_share=0.2, num_generations=2, local=None)
    evolve(problem(1, 1, 1, 1, 1, space=space), config=config)
    assert seen == [2]


def test_a_search_begins_with_the_seed_nought_and_ends_where_all_is_known() -> None:
    own, large = problem(1, 1, 1, 1, 1), SearchProblem(WIDE, [first_gene("a", 1)])
    config = EvolutionConfig(population_size=10, num_children=8, num_generations=2, local=None)
    default, nought, one = (evolve(large, config=config, **seed) for seed in ({}, {"seed": 0}, {"seed": 1}))
    assert default.population.tolist() == nought.population.tolist() != one.population.tolist()
    drawn = [random_search(large, num_evaluations=60, **seed) for seed in ({}, {"seed": 0}, {"seed": 1})]
    assert drawn[0].population.tolist() == drawn[1].population.tolist() != drawn[2].population.tolist()
    # No subnet of the 72 is made twice; the eight uniform ones are judged again.
    config = EvolutionConfig(population_size=40, num_children=40, num_generations=500, local=None)
    assert evolve(own, config=config).num_evaluations <= 72 + 8


@pytest.mark.parametrize(
    ("parent_share", "is_enough"), [(0.25, False), (0.37, False), (0.38, True), (1.0, True)]
)
def test_two_parents_are_needed(parent_share: float, is_enough: bool) -> None:
    if is_enough:
        assert EvolutionConfig(population_size=4, parent_share=parent_share).parent_share == parent_share
    else:
        with pytest.raises(ConfigError, match="fewer than two parents"):
            EvolutionConfig(population_size=4, parent_share=parent_share)


def test_a_front_under_a_limit_is_that_of_an_exhaustive_search() -> None:
    objectives = [
        Objective(figure=weighted(5, 1.7, 1.5, 3.1, 2.2), is_maximized=True),
        Objective(figure=SUM_OF_CODES),
    ]
    own = SearchProblem(TINY, objectives, [Constraint(figure=SUM_OF_CODES, limit=5.0)])
    config = EvolutionConfig(population_size=20, num_children=20, num_generations=4)
    found, best = evolve(own, config=config, seed=0), exhaustive_search(own)
    assert found.population.tolist() == best.population.tolist()
    assert len(best.population) == 4


def test_every_subnet_and_so_many_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "LARGEST_EXHAUSTIVE", 72)
    own = problem(1, 1, 1, 1, 1)
    assert exhaustive_search(own).population[0].tolist() == LARGEST
    monkeypatch.setattr(baselines, "LARGEST_EXHAUSTIVE", 71)
    with pytest.raises(ConfigError, match=r"has 7\.2e\+01 subnets"):
        exhaustive_search(own)
    monkeypatch.setattr(baselines, "_CHUNK_ROWS", 4)
    assert random_search(own, num_evaluations=10).num_evaluations == 10


def test_uniform_subnets_by_hand() -> None:
    """A stage that offers one kernel size alone takes it."""
    found = uniform_subnets(tiny(kernel_sizes=(3,)))
    by_hand = [[1, 0, 1, 0], [2, 0, 1, 0], [1, 1, 1, 1], [2, 2, 1, 1]]
    assert sorted(found.tolist()) == sorted([size, *blocks] for size in (0, 1) for blocks in by_hand)
    assert len(uniform_subnets(WIDE)) == 27
    shallow = uniform_subnets(tiny(depths=(1,), kernel_sizes=(5,), expand_ratios=(4, 6)))
    by_hand = [[a, b, *c] for a, b in ((1, 0), (2, 0), (1, 1), (2, 2)) for c in ([1], [2])]
    assert sorted(shallow[:, 1:].tolist()) == sorted(by_hand * 2)
    assert not found.flags.writeable
    assert uniform_subnets(WIDE) is uniform_subnets(WIDE)


def test_widths_of_uniform_subnets_are_of_one_rank() -> None:
    space = get_space("ofa-resnet50").with_resolutions((128,))
    subnets = Encoding(space).decode(uniform_subnets(space))
    found = {tuple(choice.width for choice in subnet.stages) for subnet in subnets}
    by_rank = (
        tuple(stage.widths[min(rank, len(stage.widths) - 1)] for stage in space.stages) for rank in range(3)
    )
    assert found == set(by_rank)


class Scripted(Operators):
    """Every cross gives the next of these children, every mutant another."""

    def __init__(self, *lists: list[int]) -> None:
        super().__init__(TINY)
        self.left = list(lists)
        self.asked: list[tuple[int, int, float]] = []

    def cross(self, first: Population, second: Population, generator: np.random.Generator) -> Population:
        del generator
        self.asked.append((len(first), len(second), 0.0))
        return rows(*[self.left.pop(0) for _ in first])

    def mutate(self, population: Population, rate: float, generator: np.random.Generator) -> Population:
        del generator
        self.asked.append((len(population), 0, rate))
        return rows(*[self.left.pop(0) for _ in population])


def test_children_are_crossed_and_mutated_by_their_shares_until_there_are_enough() -> None:
    fresh = [
        [0, 2, 0, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 2, 1, 0],
        [0, 1, 0, 2, 0],
        [1, 1, 0, 1, 0],
        [1, 2, 0, 1, 0],
    ]

    def made(*children: list[int], share: float = 0.75) -> tuple[list[list[int]], Scripted]:
        operators = Scripted(*children)
        variation = Variation(
            operators,
            mutation_rate=0.3,
            crossover_share=share,
            random=np.random.default_rng(0),
            first=rows(SMALLEST),
        )
        return variation.children(rows(SMALLEST, LARGEST), 4).tolist(), operators

    found, operators = made(*fresh[:4])
    assert (found, operators.asked) == (fresh[:4], [(3, 3, 0.0), (1, 0, 0.3)])
    found, operators = made(*fresh[:2], SMALLEST, fresh[0], *fresh[2:])
    assert (found, len(operators.asked)) == (fresh[:4], 4)
    found, operators = made(*fresh[:2], *[SMALLEST] * 6)
    assert (found, operators.left) == (fresh[:2], [])
    assert made(*fresh[:4], share=0.0)[1].asked == [(0, 0, 0.0), (4, 0, 0.3)]

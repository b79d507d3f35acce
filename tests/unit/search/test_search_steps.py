"""Steps in a space of 72 subnets: what is judged, what is kept, what a step can reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ofa_toolkit.search import local
from ofa_toolkit.search.archive import Archive
from ofa_toolkit.search.baselines import exhaustive_search
from ofa_toolkit.search.local import LocalConfig, polish_front, refine
from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.pareto import pareto_rows
from ofa_toolkit.search.problem import Constraint, Figure, Objective, Scores, SearchProblem
from ofa_toolkit.spaces.encoding import Population
from tests.unit.search.tiny import LARGEST, SMALLEST, SUM_OF_CODES, TINY, problem, rows, tiny, weighted


@pytest.mark.parametrize(
    ("limit", "is_minimum", "values", "violations"),
    [
        (10.0, False, [12.0, 10.0, 8.0], [0.2, 0.0, -0.2]),
        (10.0, True, [12.0, 10.0, 8.0], [-0.2, 0.0, 0.2]),
        (-10.0, False, [-8.0, -12.0], [0.2, -0.2]),
    ],
)
def test_violations_are_relative(
    limit: float, is_minimum: bool, values: list[float], violations: list[float]
) -> None:
    constraint = Constraint(figure=SUM_OF_CODES, limit=limit, is_minimum=is_minimum)
    assert constraint.violation(np.array(values)).tolist() == pytest.approx(violations)


def test_a_population_is_judged_by_rounded_figures_each_computed_once() -> None:
    calls: list[int] = []

    def evaluate(population: Population) -> npt.NDArray[np.float64]:
        calls.append(len(population))
        return np.array([1.26, 1.24])

    figure = Figure(name="shared", evaluate=evaluate, decimals=1)
    limit = Constraint(figure=figure, limit=1.25)
    own = SearchProblem(
        TINY,
        [Objective(figure=figure), Objective(figure=SUM_OF_CODES, is_maximized=True)],
        [limit, Constraint(figure=SUM_OF_CODES, limit=4.0)],
    )
    scores = own.evaluate(rows(SMALLEST, LARGEST))
    assert calls == [2]
    assert scores.objectives.tolist() == [[1.3, -2.0], [1.2, -8.0]]
    assert scores.violations == pytest.approx(np.array([[0.04, -0.5], [-0.04, 1.0]]))
    assert scores.total_violation.tolist() == pytest.approx([0.04, 1.0])
    assert scores.is_feasible.tolist() == [False, False]
    assert own.without(limit).constraints == own.constraints[1:]
    assert own.without(limit).objectives == own.objectives
    nearest = own.toward_feasibility()
    assert nearest.evaluate(rows(SMALLEST, LARGEST)).objectives[:, 0].tolist() == pytest.approx([0.04, 1.0])
    assert nearest.constraints == ()
    free = SearchProblem(TINY, [Objective(figure=SUM_OF_CODES)]).evaluate(rows(SMALLEST))
    assert free.violations.shape == (1, 0)
    assert free.is_feasible.tolist() == [True]
    with pytest.raises(ValueError, match="needs an objective"):
        SearchProblem(TINY, [])


def test_a_limit_that_is_just_met_is_met() -> None:
    scores = Scores(np.zeros((3, 1)), np.array([[0.0, 0.0], [0.0, 1e-9], [-1.0, -1.0]]))
    assert scores.is_feasible.tolist() == [True, False, True]


def test_an_archive_keeps_the_best_distinct_ones_and_counts_all() -> None:
    archive = Archive(problem(1, 1, 1, 1, 1, limit=5.0), capacity=3)
    assert not archive.result().is_feasible
    archive.evaluate(rows(LARGEST))
    assert not archive.result().is_feasible
    archive.evaluate(rows([0, 1, 0, 1, 1], [0, 1, 1, 1, 1], SMALLEST, [0, 1, 1, 1, 1], [1, 2, 1, 1, 0]))
    result = archive.result()
    assert result.is_feasible
    assert result.num_evaluations == 6
    # Sums of five, four and three; the largest is beyond the limit, the smallest beyond the capacity.
    assert result.population.tolist() == [[1, 2, 1, 1, 0], [0, 1, 1, 1, 1], [0, 1, 0, 1, 1]]
    assert result.scores.objectives[:, 0].tolist() == [-5, -4, -3]


def test_an_archive_keeps_as_many_as_it_holds_where_most_rows_are_the_same() -> None:
    archive = Archive(problem(1, 1, 1, 1, 1), capacity=3)
    archive.evaluate(rows(*[LARGEST] * 9, [0, 2, 2, 2, 2], [0, 2, 2, 2, 2], [0, 1, 2, 2, 2], SMALLEST))
    result = archive.result()
    assert result.population.tolist() == [LARGEST, [0, 2, 2, 2, 2], [0, 1, 2, 2, 2]]
    one = Archive(problem(1, 1, 1, 1, 1))
    assert not one.result().is_feasible
    one.evaluate(rows(SMALLEST))
    assert one.result().is_feasible


def test_an_archive_of_a_front_keeps_the_feasible_front_by_its_first_objective() -> None:
    objectives = [
        Objective(figure=weighted(0, 3, 2, 1, 1), is_maximized=True),
        Objective(figure=SUM_OF_CODES),
    ]
    limited = SearchProblem(TINY, objectives, [Constraint(figure=SUM_OF_CODES, limit=5.0)])
    archive = Archive(limited)
    archive.evaluate(rows(LARGEST, [0, 2, 2, 2, 1]))
    assert archive.result().population.tolist() == [[0, 2, 2, 2, 1]]  # nearest to the limit
    assert not archive.result().is_feasible
    archive.evaluate(rows(SMALLEST, [0, 2, 0, 1, 0], [0, 1, 0, 2, 0], [0, 2, 2, 1, 0], [0, 2, 0, 1, 0]))
    assert archive.result().population.tolist() == [[0, 2, 2, 1, 0], [0, 2, 0, 1, 0], SMALLEST]
    assert archive.result().num_evaluations == 7


def test_a_front_of_one_objective_is_its_first_best_row() -> None:
    assert pareto_rows(np.array([[2.0], [1.0], [3.0], [1.0]])).tolist() == [1]
    assert pareto_rows(np.zeros((0, 3))).tolist() == []
    for pair in ([[1, 2], [1, 1]], [[1, 2, 0], [1, 1, 0]], [[1, 2, 0], [1, 2, -1]]):
        assert pareto_rows(np.array(pair, float)).tolist() == [1]
    assert pareto_rows(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [2.0, 2.0]])).tolist() == [0, 1]
    assert pareto_rows(np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [1.0, 2.0, 0.0]])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("start", "reached"),
    [
        (SMALLEST, [[1, 1, 0, 1, 0], [0, 2, 0, 1, 0], [0, 1, 1, 1, 0], [0, 1, 2, 1, 0], [0, 1, 0, 2, 0]]),
        (
            [1, 2, 1, 1, 0],
            [[0, 2, 1, 1, 0], [1, 1, 1, 1, 0], [1, 2, 2, 1, 0], [1, 2, 0, 1, 0], [1, 2, 1, 2, 0]],
        ),
    ],
)
def test_neighbors_by_hand(start: list[int], reached: list[list[int]]) -> None:
    reached = [*reached, [*start[:4], 1], [*start[:4], 2]]
    found, owners = Operators(TINY).neighbors(rows(LARGEST, start))
    assert sorted(found[owners == 1].tolist()) == sorted(reached)
    assert sorted(owners.tolist()) == owners.tolist()
    beside = [[0, 2, 2, 2, 2], [1, 1, 2, 2, 2], [1, 2, 1, 2, 2], [1, 2, 0, 2, 2], [1, 2, 2, 1, 2]]
    assert sorted(found[owners == 0].tolist()) == sorted([*beside, [1, 2, 2, 2, 1], [1, 2, 2, 2, 0]])


def test_ratios_that_are_tied_to_the_depth_follow_it() -> None:
    """One block has the ratio 3 (codes 1 and 3), two have 4 (codes 2 and 4)."""
    operators = Operators(tiny(expand_ratios=(3, 4), compound=((1, 3), (2, 4))))
    (every,) = operators.everything()
    choices = [[1, 0], [3, 0], [2, 2], [2, 4], [4, 2], [4, 4]]
    first = [[1, 0], [2, 0], [1, 1], [1, 2], [2, 1], [2, 2]]
    assert sorted(every.tolist()) == sorted([r, *a, *b] for r in (0, 1) for a in first for b in choices)
    found, _owners = operators.neighbors(rows([0, 1, 0, 1, 0]))
    tied = [[0, 1, 0, 3, 0], [0, 1, 0, 2, 2], [0, 1, 0, 2, 4]]
    assert sorted(row for row in found.tolist() if row[:3] == [0, 1, 0]) == sorted(tied)
    found, _owners = operators.neighbors(rows([0, 1, 0, 4, 2]))
    tied = [[0, 1, 0, 2, 2], [0, 1, 0, 4, 4], [0, 1, 0, 3, 0]]
    assert sorted(row for row in found.tolist() if row[:3] == [0, 1, 0]) == sorted(tied)


def test_children_in_a_space_of_tied_ratios_are_members_of_it() -> None:
    operators, random = (
        Operators(tiny(expand_ratios=(3, 4), compound=((1, 3), (2, 4)))),
        np.random.default_rng(0),
    )
    (every,) = operators.everything()
    first, second = (random.permutation(np.repeat(every, 5, axis=0)) for _ in range(2))
    for child in (operators.cross(first, second, random), operators.mutate(first, 0.7, random)):
        assert {tuple(row) for row in child.tolist()} <= {tuple(row) for row in every.tolist()}


def test_every_code_is_a_kernel_by_a_ratio() -> None:
    (every,) = Operators(tiny(expand_ratios=(3, 4, 6), depths=(1,))).everything()
    assert len(every) == 2 * (2 + 2 * 2) * (2 * 3)
    assert sorted(set(every[:, 3].tolist())) == [1, 2, 3, 4, 5, 6]


def test_a_sample_begins_with_the_extremes_of_every_resolution() -> None:
    extremes = [SMALLEST, [1, 1, 0, 1, 0], [0, 2, 2, 2, 2], LARGEST]
    operators = Operators(TINY)
    for count in (1, 3, 4, 9):
        sample = operators.sample(count, np.random.default_rng(0))
        assert len(sample) == count
        assert sample[:4].tolist() == extremes[:count]
    assert operators.num_subnets == 72


def about(share: float) -> Any:
    """Of thousands of draws, within four deviations at least."""
    return pytest.approx(share, abs=0.035)


def test_half_of_a_child_is_of_either_parent() -> None:
    operators, random = Operators(TINY), np.random.default_rng(0)
    first, second = np.repeat(rows([0, 1, 1, 1, 0], LARGEST), 4000, axis=0).reshape(2, 4000, 5)
    child = operators.cross(first, second, random)
    for column, value in ((0, 1), (1, 2), (2, 2), (3, 2), (4, 0)):
        assert (child[:, column] == value).mean() == about(0.5), column
    assert set(child[:, 4].tolist()) == {0, 2}  # a block that one parent skips is the other's


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_a_mutant_draws_each_choice_anew_at_the_rate(rate: float) -> None:
    operators, random = Operators(tiny(expand_ratios=(3, 4))), np.random.default_rng(0)
    mutant = operators.mutate(np.repeat(rows([0, 1, 1, 4, 0]), 4000, axis=0), rate, random)
    assert (mutant[:, 0] == 1).mean() == about(rate / 2)
    assert (mutant[:, 1] == 2).mean() == about(rate / 2)
    assert (mutant[:, 2] == 0).mean() == about(rate / 2)
    assert (mutant[:, 4] > 0).mean() == about(rate / 2)
    for code in (1, 2, 3):  # of four, the old one among them
        assert (mutant[:, 3] == code).mean() == about(rate / 4)
    if rate:  # what is added is drawn evenly
        added = mutant[mutant[:, 4] > 0, 4]
        for code in (1, 2, 3, 4):
            assert (added == code).mean() == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize(
    ("config", "num_judged"),
    [
        ({"num_pairs": 0}, 1 + 1 + 7),  # the start comes twice, with seven neighbours
        # Two resolutions by six steps in stages, nine of one stage by the other, two within each.
        ({"num_pairs": 256}, 9 + 6 + 9 + 4),
        ({"num_pairs": 4}, 9 + 4),
    ],
)
def test_a_round_of_local_search_judges_steps_and_pairs(config: dict[str, int], num_judged: int) -> None:
    archive = Archive(problem(0.5, 1, 1.1, 1, 1.2))
    archive.evaluate(rows(SMALLEST))
    refine(archive, config=LocalConfig(num_starts=1, max_rounds=1, **config))
    result = archive.result()
    assert result.num_evaluations == num_judged
    best = [0, 1, 0, 1, 2] if not config["num_pairs"] else [0, 1, 2, 1, 2]
    assert result.population[0].tolist() == best


def test_local_search_starts_from_the_best_and_ends_where_nothing_is_new() -> None:
    own = problem(0.5, 1, 1.1, 1, 1.2)
    judged = []
    for num_starts, max_rounds in ((1, 2), (2, 2), (1, 99), (1, 999)):
        archive = Archive(own)
        archive.evaluate(rows(SMALLEST))
        refine(archive, config=LocalConfig(num_starts=num_starts, num_pairs=0, max_rounds=max_rounds))
        judged.append(archive.result().num_evaluations)
    # A second round takes one more start or two, each with its seven neighbours.
    assert judged[:2] == [9 + 8, 9 + 16]
    # Up by the last block, the block before it, and so on: six starts in all, the largest the last.
    assert judged[2:] == [1 + 6 * 8] * 2
    assert archive.result().population[0].tolist() == LARGEST


@pytest.mark.parametrize(("num_pairs", "best"), [(0, [0, 2, 0, 1, 0]), (256, [0, 1, 0, 2, 0])])
def test_at_a_limit_one_block_gives_what_another_takes(num_pairs: int, best: list[int]) -> None:
    archive = Archive(problem(0, 1, 0.5, 3, 0.5, limit=3.0))
    archive.evaluate(rows([0, 2, 0, 1, 0]))
    refine(archive, config=LocalConfig(num_starts=1, num_pairs=num_pairs, max_rounds=1))
    assert archive.result().population[0].tolist() == best


def test_pairs_keep_the_limit_from_a_start_within_it() -> None:
    """From three codes to four at most, each worth one: less of one block for two of another, or one more.

    The seven steps are another resolution, four of one code more, one of two more, and one of one less.
    """
    archive = Archive(problem(0, 1, 1, 1, 1, limit=4.0))
    archive.evaluate(rows([0, 1, 1, 1, 0]))
    refine(archive, config=LocalConfig(num_starts=1, max_rounds=1))
    # The resolution with each of the four; one less in the first stage with two more in the second.
    assert archive.result().num_evaluations == 1 + 8 + 4 + 1


SPARE = weighted(0, -1, -1, -1, -1, name="spare", offset=8)


@pytest.mark.parametrize(
    "second",
    [
        Objective(figure=weighted(0, 1, 1, 1, 1, name="beyond the least", offset=-2)),
        Objective(figure=SPARE, is_maximized=True),
    ],
)
def test_a_polished_front_is_the_whole_front(second: Objective) -> None:
    first = Objective(figure=weighted(5, 1.7, 1.5, 3.1, 2.2), is_maximized=True)
    own = SearchProblem(TINY, [first, second])
    archive = Archive(own)
    archive.evaluate(rows(SMALLEST, LARGEST))
    polish_front(archive)
    best = exhaustive_search(own)
    assert best.num_evaluations == 72
    assert len(best.population) == 7  # one for each sum of codes, from two to eight
    assert archive.result().population.tolist() == best.population.tolist()
    assert archive.result().num_evaluations > 72


def test_members_of_a_front_are_polished_with_those_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SearchProblem(
        TINY,
        [
            Objective(figure=weighted(5, 1.7, 1.5, 3.1, 2.2), is_maximized=True),
            Objective(figure=SUM_OF_CODES),
        ],
    )
    archive, front = Archive(own), exhaustive_search(own)
    archive.evaluate(front.population)
    seen: list[tuple[float, set[bytes]]] = []

    def recorded(inner: Archive, *, config: LocalConfig) -> None:
        assert config == LocalConfig(num_starts=4, num_pairs=9, max_rounds=6)
        (limit,) = inner.problem.constraints
        seen.append((limit.limit, {row.tobytes() for row in inner.result().population}))

    monkeypatch.setattr(local, "refine", recorded)
    polish_front(archive, config=LocalConfig(num_pairs=9))
    members = [row.tobytes() for row in front.population]  # the largest sum of codes first
    assert seen[:7] == [(8.0 - n, set(members[max(0, n - 2) : n + 3])) for n in range(7)]
    # Then at costs spread evenly from the least to the most, from the dearest member that costs no more.
    costs = np.linspace(2, 8, len(seen) - 7)
    assert [limit for limit, _ in seen[7:]] == pytest.approx(costs.tolist())
    for limit, started in seen[7:]:
        n = 8 - int(limit + 1e-9)
        assert started == set(members[max(0, n - 2) : n + 3])


def test_a_front_of_three_is_polished_and_one_beyond_the_limits_is_not() -> None:
    first = Objective(figure=weighted(5, 1.7, 1.5, 3.1, 2.2), is_maximized=True)
    others = [Objective(figure=SUM_OF_CODES), Objective(figure=weighted(1, 0, 0, 0, 0, name="resolution"))]
    archive = Archive(SearchProblem(TINY, [first, *others]))
    archive.evaluate(rows(SMALLEST, [0, 2, 0, 1, 0], LARGEST))
    polish_front(archive)
    found = archive.result().population.tolist()
    assert [0, 2, 0, 1, 0] not in found
    assert [0, 1, 0, 2, 0] in found
    limit = Constraint(figure=SUM_OF_CODES, limit=1.0)
    archive = Archive(SearchProblem(TINY, [first, *others], [limit]))
    archive.evaluate(rows(SMALLEST))
    polish_front(archive)
    assert archive.result().num_evaluations == 1

"""Children of a population, and the parts of a local search, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_toolkit.core.rng import generator
from ofa_toolkit.search.archive import ranking
from ofa_toolkit.search.local import _combine, _spread
from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.problem import Scores
from ofa_toolkit.search.rows import distinct
from ofa_toolkit.search.variation import Variation
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.encoding import Population

SPACE = get_space("mobilenet-v3-compact")
OPERATORS = Operators(SPACE)


def _variation(first: Population, *, crossover_share: float = 0.5, rate: float = 0.2) -> Variation:
    return Variation(
        OPERATORS,
        mutation_rate=rate,
        crossover_share=crossover_share,
        random=generator(0, "children"),
        first=first,
    )


def _rows(count: int) -> Population:
    rows = OPERATORS.sample(count, generator(1, "first"))
    return rows[distinct(rows)]


def test_no_child_is_made_twice_or_was_there_before() -> None:
    first = _rows(20)
    variation = _variation(first)
    made = np.concatenate([first, *(variation.children(first, 50) for _ in range(4))])
    assert len(made) == len(first) + 4 * 50
    assert len(distinct(made)) == len(made)
    assert OPERATORS.encoding.is_member(made).all()


def test_crossed_children_take_every_gene_from_a_parent_and_mutants_do_not() -> None:
    parents = _rows(2)
    crossed = _variation(parents, crossover_share=1.0).children(parents, 30)
    from_either = ((crossed[:, None] == parents[None]).any(axis=1)) | (crossed == 0)
    assert from_either.all()
    mutants = _variation(parents, crossover_share=0.0, rate=0.5).children(parents, 30)
    assert not ((mutants[:, None] == parents[None]).any(axis=1) | (mutants == 0)).all()


def test_a_rate_of_nothing_runs_out_of_new_children() -> None:
    parents = _rows(5)
    assert _variation(parents, crossover_share=0.0, rate=0.0).children(parents, 10).shape == (
        0,
        parents.shape[1],
    )


def test_distinct_rows_are_the_first_of_their_kind_in_order() -> None:
    rows = np.array([[2, 1], [1, 1], [2, 1], [0, 9], [1, 1]], dtype=np.uint8)
    assert distinct(rows).tolist() == [0, 1, 3]


def test_ranking_is_by_violation_then_objectives_then_place() -> None:
    scores = Scores(
        np.array([[1.0, 5.0], [0.0, 9.0], [1.0, 4.0], [1.0, 4.0], [-9.0, 0.0]]),
        np.array([[-1.0], [-0.5], [0.0], [-2.0], [0.1]]),
    )
    # The last one is best by far and beyond the limit; places 2 and 3 are equal.
    assert ranking(scores).tolist() == [1, 2, 3, 0, 4]


@pytest.mark.parametrize(
    ("length", "count", "positions"),
    [(10, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2]), (1, 4, [0]), (5, 2, [0, 4]), (6, 4, [0, 1, 3, 5]), (0, 3, [])],
)
def test_positions_are_spread_from_end_to_end(length: int, count: int, positions: list[int]) -> None:
    assert _spread(length, count).tolist() == positions


def test_pairs_of_steps_are_independent_within_the_limit_and_the_most_promising() -> None:
    start = np.zeros(4, dtype=np.uint8)
    steps = np.array([[1, 0, 0, 0], [2, 0, 0, 0], [0, 3, 0, 0], [0, 0, 4, 0]], dtype=np.uint8)
    objective = np.array([-5.0, -9.0, 1.0, 2.0])
    change = np.array([[0.2], [0.3], [-0.2], [-0.3]])

    def pairs(violation: float, count: int) -> list[list[int]]:
        found = _combine(start, steps, objective, change, np.array([violation]), count)
        return sorted(found.tolist())

    # The first two touch the same gene; steps 2 and 3 together win nothing.
    assert pairs(0.0, 9) == [[1, 0, 4, 0], [1, 3, 0, 0], [2, 0, 4, 0]]
    assert pairs(-0.5, 9) == [[1, 0, 4, 0], [1, 3, 0, 0], [2, 0, 4, 0], [2, 3, 0, 0]]
    assert pairs(-0.5, 2) == [[2, 0, 4, 0], [2, 3, 0, 0]]
    assert pairs(0.2, 9) == []

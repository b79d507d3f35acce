"""Properties of variation, over every registered space and the compound ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_toolkit.evaluation.stratified import stratified_population
from ofa_toolkit.search.operators import Operators
from ofa_toolkit.search.uniform import uniform_subnets
from ofa_toolkit.spaces import Encoding, get_space, restrict, sample_population
from ofa_toolkit.spaces.encoding import Population
from tests.every_space import EVERY_SPACE

SPACES = [
    *EVERY_SPACE,
    "ofa-mobilenet-v3-w1.0-compound",
    "ofa-mobilenet-v3-w1.0-compound-elastic-kernel",
    "mobilenet-v3-compact-compound",
]

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=8, deadline=None)
@given(seed=seeds, rate=st.floats(0, 1))
def test_every_child_is_a_member(name: str, seed: int, rate: float) -> None:
    operators = Operators(get_space(name))
    random = np.random.default_rng(seed)
    first, second = operators.sample(40, random), operators.sample(40, random)
    assert operators.encoding.is_member(operators.cross(first, second, random)).all()
    assert operators.encoding.is_member(operators.mutate(first, rate, random)).all()


@pytest.mark.parametrize("name", SPACES)
def test_children_take_every_choice_from_a_parent(name: str) -> None:
    operators = Operators(get_space(name))
    random = np.random.default_rng(0)
    first, second = operators.sample(60, random), operators.sample(60, random)
    child = operators.cross(first, second, random)
    if all(stage.compound is None for stage in operators.space.stages):
        assert ((child == first) | (child == second) | (child == 0)).all()

    def depths(population: Population) -> npt.NDArray[np.intp]:
        blocks = operators.encoding.block_columns
        return np.stack([(population[:, columns] > 0).sum(axis=1) for columns in blocks], axis=1)

    assert ((depths(child) == depths(first)) | (depths(child) == depths(second))).all()


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=4, deadline=None)
@given(seed=seeds)
def test_neighbors_are_distinct_members_one_decision_away(name: str, seed: int) -> None:
    operators = Operators(get_space(name))
    rows = sample_population(operators.space, 3, np.random.default_rng(seed))
    neighbors, owners = operators.neighbors(rows)
    assert operators.encoding.is_member(neighbors).all()
    keys = {(int(owner), row.tobytes()) for owner, row in zip(owners, neighbors, strict=True)}
    assert len(keys) == len(neighbors)
    for owner, row in zip(owners, neighbors, strict=True):
        changed = {operators.encoding.genes[c].stage for c in np.flatnonzero(row != rows[owner])}
        assert len(changed) == 1


@pytest.mark.parametrize("name", SPACES)
def test_neighborhoods_connect_smallest_and_largest(name: str) -> None:
    operators = Operators(get_space(name))
    start, goal = operators.encoding.encode([operators.space.smallest(), operators.space.largest()])
    for _ in range(operators.encoding.num_genes + 1):
        neighbors, _owners = operators.neighbors(start[None])
        if (start == goal).all():
            break
        distance = (neighbors != goal).sum(axis=1)
        # Growing a stage fills it with one code: the right one is among them.
        assert distance.min() < (start != goal).sum()
        start = neighbors[distance.argmin()]
    assert (start == goal).all()


def test_everything_enumerates_a_compound_space_once() -> None:
    space = get_space("ofa-mobilenet-v3-w1.0-compound").with_resolutions((160, 224))
    operators = Operators(space)
    rows = np.concatenate(list(operators.everything(chunk_rows=100)))
    assert len(rows) == 2 * 243 == operators.num_subnets
    assert len({row.tobytes() for row in rows}) == len(rows)
    assert operators.encoding.is_member(rows).all()


def test_everything_agrees_with_the_count_where_choices_are_free() -> None:
    space = restrict(
        get_space("mobilenet-v3-compact"), kernel_sizes=(3,), depths=(1, 2), expand_ratios=(3, 4)
    )
    operators = Operators(space)
    assert sum(len(rows) for rows in operators.everything()) == operators.num_subnets


@pytest.mark.parametrize("name", SPACES)
def test_uniform_subnets_are_distinct_members_with_both_extremes(name: str) -> None:
    space = get_space(name)
    rows = uniform_subnets(space)
    assert Encoding(space).is_member(rows).all()
    keys = {row.tobytes() for row in rows}
    assert len(keys) == len(rows)
    for extreme in (space.smallest(), space.largest()):
        assert Encoding(space).encode([extreme])[0].tobytes() in keys


@pytest.mark.parametrize("name", ["ofa-mobilenet-v3-w1.0", "ofa-resnet50", "ofa-mobilenet-v3-w1.0-compound"])
def test_stratified_lists_are_nested_distinct_members(name: str) -> None:
    space = get_space(name).with_resolutions((160, 224))
    short, long = (stratified_population(space, count, seed=3) for count in (40, 90))
    assert len(short) == 40
    assert len(long) == 90
    assert (long[:40] == short).all()
    assert len({row.tobytes() for row in long}) == 90
    assert Encoding(space).is_member(long).all()


def test_stratified_subnets_reach_further_than_random_ones() -> None:
    from ofa_toolkit.complexity import PopulationComplexity

    space = get_space("ofa-mobilenet-v3-w1.0").with_resolutions((224,))
    macs = PopulationComplexity(space).macs
    spread = [
        np.subtract(*np.quantile(np.log(macs(rows)), [0.9, 0.1]))
        for rows in (
            stratified_population(space, 200, seed=0),
            sample_population(space, 200, np.random.default_rng(0)),
        )
    ]
    assert spread[0] > 1.5 * spread[1]

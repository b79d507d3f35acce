"""Fused tables against sums of single look-ups."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_toolkit.complexity import PopulationComplexity, count_macs, count_params, peak_activation_elements
from ofa_toolkit.spaces import Encoding, get_space, lower, sample_population
from ofa_toolkit.spaces.fused_tables import CHUNK_ROWS, FusedTables, Term
from tests.every_space import EVERY_SPACE


@pytest.mark.parametrize("combine", [np.add, np.maximum])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fusing_changes_nothing(combine: np.ufunc, dtype: type) -> None:
    random = np.random.default_rng(0)
    cardinalities = [3, 10, 10, 2, 7, 10, 5]
    columns = [(0, 1), (2,), (0, 3), (4, 5), (1, 6), (6,)]
    terms = [
        Term(c, random.integers(0, 100, size=(int(np.prod([cardinalities[i] for i in c])), 2)).astype(float))
        for c in columns
    ]
    population = np.stack([random.integers(0, n, size=2 * CHUNK_ROWS + 17) for n in cardinalities], axis=1)
    population = population.astype(np.uint8)
    expected = None
    for term in terms:
        shape = [cardinalities[i] for i in term.columns]
        rows = np.ravel_multi_index(tuple(population[:, i] for i in term.columns), shape)
        part = term.table[rows]
        expected = part if expected is None else combine(expected, part)
    fused = FusedTables(cardinalities, terms, combine=combine, dtype=dtype)
    assert (fused(population) == expected).all()
    assert fused(population[:0]).shape == (0, 2)


@pytest.mark.parametrize(("num_figures", "rows"), [(1, 4096), (50, 1310), (500, 1024)])
def test_chunks_of_many_figures_are_short_and_begin_at_a_cache_line(num_figures: int, rows: int) -> None:
    tables = FusedTables([3], [Term((0,), np.arange(3.0)[:, None] + np.zeros(num_figures))])
    assert tables.chunk_rows == rows
    for size in (1, 7, 10**6):
        buffer = tables.buffer(size)
        assert buffer.shape == (min(size, rows), num_figures)
        assert buffer.dtype == np.float64
        assert buffer.ctypes.data % 64 == 0
    population = np.arange(2 * rows + 5, dtype=np.int64)[:, None] % 3
    assert (tables(population) == population).all()


@pytest.mark.parametrize("name", EVERY_SPACE)
def test_population_counts_equal_those_of_single_subnets(name: str) -> None:
    space = get_space(name)
    space = space.with_resolutions(space.resolutions[-2:])
    population = sample_population(space, 24, np.random.default_rng(0))
    lowered = [lower(space, subnet) for subnet in Encoding(space).decode(population)]
    complexity = PopulationComplexity(space)
    for count, of_layers in (
        (complexity.macs, count_macs),
        (complexity.params, count_params),
        (complexity.peak_activation_elements, peak_activation_elements),
    ):
        # The first few are counted layer by layer; then there are enough for tables.
        counts = [*count(population[:12]).tolist(), *count(population[12:]).tolist()]
        assert counts == [of_layers(layers) for layers in lowered]

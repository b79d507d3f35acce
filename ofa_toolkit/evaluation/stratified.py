"""Subnets to measure for a predictor: spread evenly over the cost range instead of bunched in its middle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.rng import generator
from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.sampling import sample_population
from ofa_toolkit.spaces.space import SearchSpace

NUM_STRATA = 32
_POOL = 64 * NUM_STRATA
_MOST_ROUNDS = 10_000


def stratified_population(space: SearchSpace, num_subnets: int, seed: int) -> Population:
    """Distinct subnets whose multiply-accumulates are spread evenly, `(N, genes)`.

    Sampling every choice on its own gives sums, so most subnets cost about the same; the cheap and the
    expensive ones, where searches end, would hardly be measured. Here the logarithm of the cost is cut into
    strata of equal width, and each round takes one subnet from every stratum that a pool reaches. A list is
    the start of every longer one with the same seed, so measuring more later wastes nothing. The smallest
    and largest subnet at every resolution come first.

    Args:
        space: The search space that subnets are drawn from.
        num_subnets: Number of subnets; fewer come where the space holds no more.
        seed: Equal seeds give equal subnets, so that several processes can share the work.
    """
    extremes = Encoding(space).encode(
        list(dict.fromkeys(e(r) for r in space.resolutions for e in (space.smallest, space.largest)))
    )
    complexity = PopulationComplexity(space)
    bounds = np.log(complexity.macs(extremes))
    edges = np.linspace(bounds.min(), bounds.max(), NUM_STRATA + 1)[1:-1]
    chosen = {row.tobytes(): row for row in extremes[:num_subnets]}
    for number in range(_MOST_ROUNDS):
        if len(chosen) >= num_subnets or len(chosen) >= space.num_architectures * len(space.resolutions):
            break
        pool = _pool(space, generator(seed, "predictor", "subnets", number))
        stratum = np.digitize(np.log(complexity.macs(pool)), edges)
        fresh = np.array([row.tobytes() not in chosen for row in pool])
        for index in generator(seed, "predictor", "order", number).permutation(NUM_STRATA):
            own = np.flatnonzero(fresh & (stratum == index))
            if len(own) and len(chosen) < num_subnets:
                chosen[pool[own[0]].tobytes()] = pool[own[0]]
    return np.array(list(chosen.values()), dtype=np.uint8)


def _pool(space: SearchSpace, random: np.random.Generator) -> Population:
    """Random subnets, each drawn to one end of the space by its own random strength, stage by stage."""
    encoding = Encoding(space)
    pool = sample_population(space, _POOL, random)
    ends = encoding.encode([space.smallest(), space.largest()])[random.integers(2, size=_POOL)]
    strength: npt.NDArray[np.float64] = random.random(_POOL)
    groups = [[0]]
    for columns, width in zip(encoding.block_columns, encoding.width_columns, strict=True):
        groups.append([*range(columns.start, columns.stop), *([] if width is None else [width])])
    for columns_of_group in groups:
        drawn = np.flatnonzero(random.random(_POOL) < strength)
        where = np.ix_(drawn, np.array(columns_of_group, dtype=np.intp))
        pool[where] = ends[where]
    return pool

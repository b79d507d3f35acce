"""Subnets without a search: the same choice everywhere."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.subnet import StageChoice, Subnet


@functools.lru_cache(maxsize=4)
def uniform_subnets(space: SearchSpace) -> Population:
    """All subnets whose stages take the same depth, kernel size, expand ratio and width, `(N, genes)`.

    "The same" is by rank among what a stage offers (its smallest, its second, ...), so that stages with
    different offers can agree; a stage that offers fewer takes its largest. The fair baseline for a search:
    what one would pick by hand.
    """
    ranks = [
        max(len(stage.depths) for stage in space.stages),
        max(len(stage.kernel_sizes) for stage in space.stages),
        max(len(stage.expand_ratios) for stage in space.stages),
        max(len(stage.widths) for stage in space.stages),
    ]
    found: dict[Subnet, None] = {}
    for rank in itertools.product(*map(range, ranks)):
        stages = tuple(_choice(space, index, rank) for index in range(len(space.stages)))
        found[Subnet(space.resolutions[0], stages)] = None
    population = np.tile(Encoding(space).encode(list(found)), (len(space.resolutions), 1))
    population[:, 0] = np.repeat(np.arange(len(space.resolutions)), len(found))
    population.setflags(write=False)  # shared by all callers
    return population


def _choice(space: SearchSpace, index: int, rank: tuple[int, ...]) -> StageChoice:
    stage = space.stages[index]
    depth = stage.depths[min(rank[0], len(stage.depths) - 1)]
    ratios = stage.allowed_expand_ratios(depth)
    return StageChoice(
        depth=depth,
        kernel_sizes=(stage.kernel_sizes[min(rank[1], len(stage.kernel_sizes) - 1)],) * depth,
        expand_ratios=(ratios[min(rank[2], len(ratios) - 1)],) * depth,
        width=stage.widths[min(rank[3], len(stage.widths) - 1)] if stage.has_elastic_width else None,
    )

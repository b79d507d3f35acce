"""Uniform sampling of encoded subnets."""

from __future__ import annotations

import numpy as np

from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.subnet import Subnet


def sample_population(
    space: SearchSpace, num_subnets: int, generator: np.random.Generator, *, resolution: int | None = None
) -> Population:
    """Draw encoded subnets: each resolution, width, depth, kernel size and expand ratio uniformly on its own.

    This is the sampling of OFA, BigNAS and DϵpS, so shallow stages are as likely as deep ones although
    fewer subnets have them. Compound stages draw the depth, which decides the ratio.

    Args:
        space: The search space to draw from.
        num_subnets: Number of rows.
        generator: Source of randomness; equal states give equal rows.
        resolution: Draw at this resolution only.

    Returns:
        Rows `(num_subnets, genes)`, see `Encoding`; duplicates are possible.
    """
    encoding = Encoding(space)
    rows = np.zeros((num_subnets, encoding.num_genes), dtype=np.uint8)
    if resolution is None:
        rows[:, 0] = generator.integers(len(space.resolutions), size=num_subnets)
    else:
        if resolution not in space.resolutions:
            space.check(space.smallest(resolution))
        rows[:, 0] = space.resolutions.index(resolution)
    for stage, width_column, columns in zip(
        space.stages, encoding.width_columns, encoding.block_columns, strict=True
    ):
        if width_column is not None:
            rows[:, width_column] = generator.integers(len(stage.widths), size=num_subnets)
        depth = generator.choice(np.array(stage.depths), size=num_subnets)
        shape = (num_subnets, stage.max_depth)
        kernel = generator.integers(len(stage.kernel_sizes), size=shape)
        ratio = generator.integers(len(stage.expand_ratios), size=shape)
        if stage.compound is not None:
            ratio[:] = encoding.tied_ratio_index(stage.compound, stage.expand_ratios, depth)[:, None]
        codes = 1 + kernel * len(stage.expand_ratios) + ratio
        rows[:, columns] = np.where(np.arange(stage.max_depth) < depth[:, None], codes, 0)
    return rows


def sample_subnets(
    space: SearchSpace, num_subnets: int, generator: np.random.Generator, *, resolution: int | None = None
) -> list[Subnet]:
    """As `sample_population`, decoded."""
    rows = sample_population(space, num_subnets, generator, resolution=resolution)
    return Encoding(space).decode(rows)

"""Subnets as rows of small integers, so that populations are evaluated by array look-ups.

A row holds the index of the resolution, then for each stage the index of its width (only where elastic)
and one code per block the supernet holds: 0 for a skipped block, else
`1 + kernel_index * number of expand ratios + expand_index`. Depth is the number of leading non-zero codes.
A subnet has exactly one row and a valid row exactly one subnet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.errors import SubnetNotInSpaceError
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.subnet import StageChoice, Subnet

Population = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Gene:
    """One column of an encoded population.

    Attributes:
        kind: Kind of choice.
        stage: Index of its stage, -1 for the resolution.
        block: Index of its block within the stage, -1 for resolution and width.
        cardinality: Number of values it can take, 0 upwards.
    """

    kind: Literal["resolution", "width", "block"]
    stage: int
    block: int
    cardinality: int


class Encoding:
    """The column layout of a space's populations, and the way there and back."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        genes = [Gene("resolution", -1, -1, len(space.resolutions))]
        self.width_columns: list[int | None] = []
        self.block_columns: list[slice] = []
        for index, stage in enumerate(space.stages):
            self.width_columns.append(len(genes) if stage.has_elastic_width else None)
            if stage.has_elastic_width:
                genes.append(Gene("width", index, -1, len(stage.widths)))
            codes = 1 + len(stage.kernel_sizes) * len(stage.expand_ratios)
            self.block_columns.append(slice(len(genes), len(genes) + stage.max_depth))
            genes += [Gene("block", index, block, codes) for block in range(stage.max_depth)]
        self.genes: tuple[Gene, ...] = tuple(genes)

    @property
    def num_genes(self) -> int:
        """Number of columns."""
        return len(self.genes)

    def encode(self, subnets: Sequence[Subnet]) -> Population:
        """Rows `(len(subnets), num_genes)` of the given subnets.

        Raises:
            SubnetNotInSpaceError: One of them is not in the space, or has a resolution of its own.
        """
        rows = np.zeros((len(subnets), self.num_genes), dtype=np.uint8)
        for row, subnet in zip(rows, subnets, strict=True):
            self.space.check(subnet)
            if subnet.resolution not in self.space.resolutions:
                raise SubnetNotInSpaceError(
                    f"A subnet at {subnet.resolution} pixels can be built, but has no code: "
                    f"{self.space.name} is searched and predicted at the resolutions it offers only."
                )
            row[0] = self.space.resolutions.index(subnet.resolution)
            for index, (stage, choice) in enumerate(zip(self.space.stages, subnet.stages, strict=True)):
                width_column = self.width_columns[index]
                if width_column is not None:
                    assert choice.width is not None
                    row[width_column] = stage.widths.index(choice.width)
                start = self.block_columns[index].start
                for block, (kernel, ratio) in enumerate(
                    zip(choice.kernel_sizes, choice.expand_ratios, strict=True)
                ):
                    row[start + block] = (
                        1
                        + stage.kernel_sizes.index(kernel) * len(stage.expand_ratios)
                        + stage.expand_ratios.index(ratio)
                    )
        return rows

    def decode(self, rows: npt.NDArray[np.integer]) -> list[Subnet]:
        """Subnets of valid rows `(N, num_genes)`.

        Raises:
            SubnetNotInSpaceError: A row is no member of the space.
        """
        subnets = [self.decode_unchecked(row) for row in rows]
        for subnet in subnets:
            self.space.check(subnet)
        return subnets

    def decode_unchecked(self, row: npt.NDArray[np.integer]) -> Subnet:
        """The subnet of one row `(num_genes,)`, whether or not the space offers its choices together."""
        stages = []
        for index, stage in enumerate(self.space.stages):
            codes = [int(code) - 1 for code in row[self.block_columns[index]] if code]
            ratios = len(stage.expand_ratios)
            width_column = self.width_columns[index]
            stages.append(
                StageChoice(
                    depth=len(codes),
                    kernel_sizes=tuple(stage.kernel_sizes[code // ratios] for code in codes),
                    expand_ratios=tuple(stage.expand_ratios[code % ratios] for code in codes),
                    width=None if width_column is None else stage.widths[row[width_column]],
                )
            )
        return Subnet(self.space.resolutions[row[0]], tuple(stages))

    def is_member(self, population: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Which rows are subnets of the space, `(N,)`: in range, no gap, depth and coupling offered."""
        cardinalities = np.array([gene.cardinality for gene in self.genes])
        in_range = (population >= 0) & (population < cardinalities)
        member: npt.NDArray[np.bool_] = np.all(in_range, axis=1)
        for stage, columns in zip(self.space.stages, self.block_columns, strict=True):
            codes = population[:, columns].astype(np.int64)
            depth = (codes > 0).sum(axis=1)
            member &= np.isin(depth, stage.depths)
            member &= np.all((codes > 0) == (np.arange(stage.max_depth) < depth[:, None]), axis=1)
            if stage.compound is not None:
                ratio = (codes - 1) % len(stage.expand_ratios)
                tied = self.tied_ratio_index(stage.compound, stage.expand_ratios, depth)
                member &= np.all((codes == 0) | (ratio == tied[:, None]), axis=1)
        return member

    @staticmethod
    def tied_ratio_index(
        compound: tuple[tuple[int, float], ...],
        expand_ratios: tuple[float, ...],
        depth: npt.NDArray[np.integer],
    ) -> npt.NDArray[np.int64]:
        """Index of the expand ratio a compound stage takes at each depth `(N,)`; -1 where none is offered."""
        by_depth = np.full(256, -1, dtype=np.int64)
        for offered, ratio in compound:
            by_depth[offered] = expand_ratios.index(ratio)
        tied: npt.NDArray[np.int64] = by_depth[depth]
        return tied

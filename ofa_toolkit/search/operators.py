"""Sampling, crossover, mutation and neighbourhoods of encoded subnets.

Every child is inside the space by construction, and in canonical form: codes of skipped blocks are zero,
depths are offered ones, and in compound spaces the expand ratio follows the depth. Whole populations are
treated at once; the only loops are over stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.search.rows import as_keys
from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.sampling import sample_population
from ofa_toolkit.spaces.space import SearchSpace, Stage

Codes = npt.NDArray[np.integer[Any]]
Depths = npt.NDArray[np.integer[Any]]


class Operators:
    """Variation inside one space."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.encoding = Encoding(space)
        self._stages = list(zip(space.stages, self.encoding.block_columns, strict=True))
        self._simple_columns = [0, *[c for c in self.encoding.width_columns if c is not None]]
        genes = [(column, gene) for column, gene in enumerate(self.encoding.genes) if gene.kind == "block"]
        self._block_columns = np.array([column for column, _ in genes])
        self._stage_of = np.array([gene.stage for _, gene in genes])
        self._block_of = np.array([gene.block for _, gene in genes])
        self._starts = np.flatnonzero(self._block_of == 0)
        ends = [*self._starts[1:], len(genes)]
        self._parts = [slice(start, end) for start, end in zip(self._starts, ends, strict=True)]

    def sample(self, num_subnets: int, generator: np.random.Generator) -> Population:
        """Random subnets, see `sample_population`, the smallest and largest of every resolution first.

        The extremes make sure that a feasible subnet is known from the start wherever size alone decides.
        """
        extremes = [
            extreme(resolution)
            for extreme in (self.space.smallest, self.space.largest)
            for resolution in self.space.resolutions
        ][:num_subnets]
        rows = [self.encoding.encode(extremes)]
        rows.append(sample_population(self.space, num_subnets - len(extremes), generator))
        return np.concatenate(rows)

    def cross(self, first: Population, second: Population, generator: np.random.Generator) -> Population:
        """One child of each pair: every resolution, width, depth and block from either parent, evenly.

        A block that the chosen parent skips but the child needs comes from the other parent, which has it
        since the child's depth is one of theirs.
        """
        from_first = generator.random(first.shape) < 0.5
        child = np.where(from_first, first, second)
        other = np.where(from_first, second, first)
        takes_first = generator.random((len(self._stages), len(child))).T < 0.5
        depths = np.where(takes_first, self._depths(first), self._depths(second))
        codes = np.where(child == 0, other, child)[:, self._block_columns]
        child[:, self._block_columns] = self._canonical(codes, depths)
        return child

    def mutate(self, population: Population, rate: float, generator: np.random.Generator) -> Population:
        """Redraw each resolution, width, depth and block with probability `rate`; blocks added are drawn."""
        child = population.copy()
        for column in self._simple_columns:
            drawn = generator.integers(self.encoding.genes[column].cardinality, size=len(child))
            child[:, column] = np.where(generator.random(len(child)) < rate, drawn, child[:, column])
        depths, codes = self._depths(child), child[:, self._block_columns]
        for index, (stage, part) in enumerate(zip(self.space.stages, self._parts, strict=True)):
            drawn_depth = np.array(stage.depths)[generator.integers(len(stage.depths), size=len(child))]
            redrawn = generator.random(len(child)) < rate
            depths[:, index] = np.where(redrawn, drawn_depth, depths[:, index])
            blocks = codes[:, part]
            num_codes = len(stage.kernel_sizes) * len(stage.expand_ratios)
            drawn = generator.integers(1, 1 + num_codes, size=blocks.shape)
            redraw = (generator.random(blocks.shape) < rate) | (blocks == 0)
            codes[:, part] = np.where(redraw, drawn, blocks)
        child[:, self._block_columns] = self._canonical(codes, depths)
        return child

    def neighbors(self, population: Population) -> tuple[Population, npt.NDArray[np.intp]]:
        """All subnets one decision away from each row, `(M, genes)`, and whose neighbours they are, `(M,)`.

        A decision is a resolution, a width, a block's code, or a depth; blocks added by a depth share one
        code, each of the possible ones in turn.
        """
        found = [self._simple_neighbors(population, column) for column in self._simple_columns]
        found += [self._stage_neighbors(population, index) for index in range(len(self._stages))]
        rows = np.concatenate([rows for rows, _ in found])
        owners = np.concatenate([owners for _, owners in found])
        order = np.argsort(owners, kind="stable")
        return rows[order], owners[order]

    def everything(self, chunk_rows: int = 65_536) -> Iterator[Population]:
        """All subnets of a small space, in chunks of at most `chunk_rows`."""
        axes = [
            np.arange(self.encoding.genes[c].cardinality, dtype=np.uint8)[:, None]
            for c in self._simple_columns
        ]
        axes += [self._stage_rows(stage) for stage in self.space.stages]
        columns = [np.array([c]) for c in self._simple_columns]
        columns += [np.arange(c.start, c.stop) for c in self.encoding.block_columns]
        sizes = [len(axis) for axis in axes]
        total = int(np.prod(sizes, dtype=np.float64))
        for start in range(0, total, chunk_rows):
            index = np.unravel_index(np.arange(start, min(start + chunk_rows, total)), sizes)
            rows = np.zeros((len(index[0]), self.encoding.num_genes), dtype=np.uint8)
            for axis, where, own in zip(axes, columns, index, strict=True):
                rows[:, where] = axis[own]
            yield rows

    @property
    def num_subnets(self) -> int:
        """Number of subnets, resolutions counted."""
        return self.space.num_architectures * len(self.space.resolutions)

    def _simple_neighbors(
        self, population: Population, column: int
    ) -> tuple[Population, npt.NDArray[np.intp]]:
        values = np.arange(self.encoding.genes[column].cardinality, dtype=np.uint8)
        owners, index = np.nonzero(population[:, column, None] != values)
        rows = population[owners]
        rows[:, column] = values[index]
        return rows, owners

    def _stage_neighbors(self, population: Population, index: int) -> tuple[Population, npt.NDArray[np.intp]]:
        stage, columns = self._stages[index]
        codes = population[:, columns]
        depth = (codes > 0).sum(axis=1)
        possible = np.arange(1, 1 + len(stage.kernel_sizes) * len(stage.expand_ratios), dtype=np.uint8)
        variants, depths = [], []
        for block in range(stage.max_depth):
            for code in possible:
                variants.append(codes.copy())
                variants[-1][:, block] = np.where(block < depth, code, 0)
                depths.append(depth)
        for other in stage.depths:
            for code in possible:
                variants.append(np.where(codes == 0, code, codes))
                depths.append(np.full(len(codes), other))
        candidates = self._canonical_stage(stage, np.concatenate(variants), np.concatenate(depths))
        owners = np.tile(np.arange(len(population)), len(variants))
        changed = np.flatnonzero((candidates != codes[owners]).any(axis=1))
        # Shrinking gives the same rows for every code, tied ratios the same for several.
        tagged = np.concatenate(
            [owners[changed, None].astype(np.uint16).view(np.uint8), candidates[changed]], axis=1
        )
        _, first = np.unique(as_keys(tagged), return_index=True)
        kept = changed[np.sort(first)]
        rows = population[owners[kept]]
        rows[:, columns] = candidates[kept]
        return rows, owners[kept]

    def _stage_rows(self, stage: Stage) -> npt.NDArray[np.uint8]:
        """Every choice of one stage, `(choices, blocks)`."""
        num_codes = len(stage.kernel_sizes) * len(stage.expand_ratios)
        rows = []
        for depth in stage.depths:
            grid = np.stack(np.meshgrid(*[np.arange(1, 1 + num_codes)] * depth, indexing="ij"), axis=-1)
            codes = np.zeros((num_codes**depth, stage.max_depth), dtype=np.uint8)
            codes[:, :depth] = grid.reshape(-1, depth)
            rows.append(self._canonical_stage(stage, codes, np.full(len(codes), depth)))
        return np.unique(np.concatenate(rows), axis=0)

    def _depths(self, population: Population) -> Depths:
        """Depth of every stage, `(N, stages)`."""
        is_active = population[:, self._block_columns] > 0
        return np.add.reduceat(is_active, self._starts, axis=1, dtype=np.intp)

    def _canonical(self, codes: Codes, depths: Depths) -> npt.NDArray[np.uint8]:
        """Codes of all blocks `(N, blocks)`: zero beyond their stage's depth `(N, stages)`, ratios tied."""
        if any(stage.compound is not None for stage in self.space.stages):
            stages = zip(self.space.stages, self._parts, depths.T, strict=True)
            codes = np.concatenate(
                [self._tied(stage, codes[:, part], depth) for stage, part, depth in stages], 1
            )
        canonical = np.where(self._block_of < depths[:, self._stage_of], codes, 0)
        return canonical.astype(np.uint8)

    def _canonical_stage(self, stage: Stage, codes: Codes, depth: Depths) -> npt.NDArray[np.uint8]:
        """As `_canonical` for the blocks of one stage."""
        canonical = np.where(np.arange(stage.max_depth) < depth[:, None], self._tied(stage, codes, depth), 0)
        return canonical.astype(np.uint8)

    def _tied(self, stage: Stage, codes: Codes, depth: Depths) -> Codes:
        """Codes of one stage's blocks with the expand ratio that goes with the depth, where one does."""
        if stage.compound is None:
            return codes
        ratios = len(stage.expand_ratios)
        tied = self.encoding.tied_ratio_index(stage.compound, stage.expand_ratios, depth)
        return 1 + (codes.astype(np.int64) - 1) // ratios * ratios + tied[:, None]

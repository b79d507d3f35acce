"""The choices a predictor knows, each with its row in the predictor's first layer.

Rows are found by what is chosen (stage, block, kernel size, expand ratio, width, resolution), not by code,
so a predictor also serves spaces with fewer choices, whose codes differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.spaces.encoding import Encoding, Gene
from ofa_toolkit.spaces.space import SearchSpace

Choice = tuple[str | int | float, ...]
"""`("resolution", pixels)`, `("width", stage, channels)`, `("skip", stage, block)` or
`("block", stage, block, kernel size, expand ratio)`."""


@dataclass(frozen=True)
class Choices:
    """All choices in the order of the first layer's rows."""

    rows: tuple[Choice, ...]

    @classmethod
    def of(cls, space: SearchSpace, resolutions: Iterable[int]) -> Choices:
        """Every choice of a space, resolutions limited to the given ones."""
        encoding = Encoding(space)
        rows: list[Choice] = [("resolution", resolution) for resolution in resolutions]
        for gene in encoding.genes[1:]:
            rows += _values(space, gene)
        return cls(tuple(rows))

    @classmethod
    def from_document(cls, document: Any) -> Choices:
        """Undo `to_document`; raises `FileFormatError`."""
        if not isinstance(document, list) or not all(isinstance(row, list) and row for row in document):
            raise FileFormatError("The choices of an accuracy predictor are malformed.")
        return cls(tuple(tuple(row) for row in document))

    def to_document(self) -> list[list[str | int | float]]:
        """As plain JSON values."""
        return [list(row) for row in self.rows]

    def selectors(self, space: SearchSpace, name: str) -> list[npt.NDArray[np.float32]]:
        """For each gene a matrix `(values, rows)` that takes the first layer's rows to the gene's table.

        A resolution between or beyond the known ones is the line through the two nearest.

        Args:
            space: Whose encoding the tables are for.
            name: Name of the predictor, for messages.

        Raises:
            MismatchError: A choice of the space is unknown here.
        """
        index = {row: position for position, row in enumerate(self.rows)}
        selectors = []
        for gene in Encoding(space).genes:
            selector = np.zeros((gene.cardinality, len(self.rows)), dtype=np.float32)
            for value, choice in enumerate(_values(space, gene)):
                if choice in index:
                    selector[value, index[choice]] = 1
                elif gene.kind == "resolution":
                    self._between(int(choice[1]), selector[value])
                else:
                    raise MismatchError(
                        f"{name} knows nothing about {_described(choice)}, which '{space.name}' offers."
                    )
            selectors.append(selector)
        return selectors

    def one_hot(self, space: SearchSpace, population: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Rows of the first layer that each subnet uses, `(N, rows)`; resolutions must be known ones."""
        features = np.zeros((len(population), len(self.rows)), dtype=np.float32)
        for column, selector in enumerate(self.selectors(space, "The predictor")):
            features += selector[population[:, column]]
        return features

    def factors(self) -> npt.NDArray[np.float32]:
        """What a predictor is fitted on: each choice taken apart, `(rows, features)`.

        A block becomes its kernel size and its expand ratio, a skipped block nothing; widths are as they are;
        resolutions are so too, and one feature more grows with them.
        """
        parts = [list(_factors(row)) for row in self.rows]
        names = {name: column for column, name in enumerate(dict.fromkeys(itertools.chain(*parts)))}
        matrix = np.zeros((len(self.rows), len(names)), dtype=np.float32)
        for row, names_of_row in enumerate(parts):
            for name in names_of_row:
                matrix[row, names[name]] = 1
        pixels = np.array(
            [row[1] if row[0] == "resolution" else np.nan for row in self.rows], dtype=np.float64
        )
        growing = np.nan_to_num((pixels - np.nanmean(pixels)) / (np.nanstd(pixels) or 1.0))
        return np.concatenate([matrix, growing[:, None].astype(np.float32)], axis=1)

    def _between(self, resolution: int, weights: npt.NDArray[np.float32]) -> None:
        known = sorted(
            (int(row[1]), position) for position, row in enumerate(self.rows) if row[0] == "resolution"
        )
        if len(known) == 1:
            weights[known[0][1]] = 1
            return
        upper = min(max(sum(pixels < resolution for pixels, _ in known), 1), len(known) - 1)
        (low, low_row), (high, high_row) = known[upper - 1], known[upper]
        weights[high_row] = (resolution - low) / (high - low)
        weights[low_row] = 1 - weights[high_row]


def _values(space: SearchSpace, gene: Gene) -> Iterator[Choice]:
    """What the values of a gene stand for, in the order of its codes."""
    if gene.kind == "resolution":
        yield from (("resolution", resolution) for resolution in space.resolutions)
        return
    stage = space.stages[gene.stage]
    if gene.kind == "width":
        yield from (("width", gene.stage, width) for width in stage.widths)
        return
    yield ("skip", gene.stage, gene.block)
    for kernel_size in stage.kernel_sizes:
        for ratio in stage.expand_ratios:
            yield ("block", gene.stage, gene.block, kernel_size, float(ratio))


def _factors(choice: Choice) -> Iterator[Choice]:
    if choice[0] == "block":
        _, stage, block, kernel_size, ratio = choice
        yield ("kernel size", stage, block, kernel_size)
        yield ("expand ratio", stage, block, ratio)
    elif choice[0] != "skip":
        yield choice


def _described(choice: Choice) -> str:
    if choice[0] == "block":
        _, stage, block, kernel_size, ratio = choice
        return (
            f"kernel size {kernel_size} with expand ratio {float(ratio):g} in block {int(block) + 1} "
            f"of stage {int(stage) + 1}"
        )
    if choice[0] == "width":
        return f"width {choice[2]} of stage {int(choice[1]) + 1}"
    return f"skipping block {int(choice[2]) + 1} of stage {int(choice[1]) + 1}"

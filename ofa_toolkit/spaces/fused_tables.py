"""Many small look-up tables fused into few, for evaluating millions of encoded subnets a second.

A figure that adds up over genes (or is a maximum over them) is a look-up per gene. Fusing neighbouring
genes into one table halves or thirds the look-ups; tables stay small enough for the cache. The row
numbers of all fused tables come from one matrix product, and populations are worked through in chunks
whose buffers stay in the cache and are made once: new memory costs more than what is written to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

CHUNK_ROWS = 4096
_FEWEST_CHUNK_ROWS = 1024
_CHUNK_BYTES = 512 * 1024
# A table may be as large as either allows.
_LARGEST_TABLE_BYTES = 128 * 1024
_LARGEST_TABLE_ROWS = 1024
_CACHE_LINE_BYTES = 64
_LARGEST_EXACT_FLOAT32 = 2**24


@dataclass(frozen=True)
class Term:
    """One look-up: figures for every combination of a few genes.

    Attributes:
        columns: Columns of the encoded population it depends on, ascending.
        table: Figures `(combinations, figures)`; the last column's gene varies fastest.
    """

    columns: tuple[int, ...]
    table: npt.NDArray[Any]


class FusedTables:
    """Sums, or maxima, of terms over encoded populations.

    Args:
        cardinalities: Number of values of each gene of the encoding.
        terms: Tables to combine; all have the same number of figures.
        combine: `np.add` or `np.maximum`.
        dtype: Type of the figures: float32 is twice as fast where seven digits are enough.

    Attributes:
        num_figures: Figures of each subnet.
        chunk_rows: Subnets worked through at once; fewer the more figures each has.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        terms: Sequence[Term],
        *,
        combine: np.ufunc = np.add,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        if not terms:
            raise ValueError("There is nothing to look up.")
        self._combine = combine
        self._dtype = np.dtype(dtype)
        self.num_figures = terms[0].table.shape[1]
        self._row_bytes = self.num_figures * self._dtype.itemsize
        self.chunk_rows = min(CHUNK_ROWS, max(_FEWEST_CHUNK_ROWS, _CHUNK_BYTES // self._row_bytes))
        groups = list(self._groups(cardinalities, terms))
        self._tables = [self._fuse(cardinalities, columns, members) for columns, members in groups]
        self._strides = np.zeros((len(cardinalities), len(groups)), dtype=np.float32)
        for group, (columns, _) in enumerate(groups):
            stride = 1
            for column in reversed(columns):
                self._strides[column, group] = stride
                stride *= cardinalities[column]

    def __call__(self, population: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Figures `(N, figures)` of encoded subnets `(N, genes)`."""
        result = np.empty((len(population), self.num_figures), dtype=self._dtype)
        buffer = self.buffer(len(population))
        for rows in chunks(len(population), self.chunk_rows):
            self.fill(population[rows], result[rows], buffer)
        return result

    def buffer(self, num_rows: int) -> npt.NDArray[Any]:
        """Room for the figures of a chunk of a population of `num_rows`, `(rows, figures)`.

        It begins at a cache line: wide loads and stores that reach over two of them take twice as long.
        """
        shape = (min(num_rows, self.chunk_rows), self.num_figures)
        num_bytes = shape[0] * self._row_bytes
        room = np.empty(num_bytes + _CACHE_LINE_BYTES, dtype=np.uint8)
        start = -room.ctypes.data % _CACHE_LINE_BYTES
        return room[start : start + num_bytes].view(self._dtype).reshape(shape)

    def fill(
        self, population: npt.NDArray[np.integer], out: npt.NDArray[Any], buffer: npt.NDArray[Any]
    ) -> None:
        """As a call, for one chunk of the population, into `out` `(N, figures)`; `buffer` is overwritten."""
        rows = (population.astype(np.float32) @ self._strides).astype(np.intp)
        by_table = np.ascontiguousarray(rows.T)
        # Valid populations never reach beyond a table; "clip" only spares take() a second buffer.
        np.take(self._tables[0], by_table[0], axis=0, out=out, mode="clip")
        part = buffer[: len(out)]
        for table, index in zip(self._tables[1:], by_table[1:], strict=True):
            np.take(table, index, axis=0, out=part, mode="clip")
            self._combine(out, part, out=out)

    def _groups(
        self, cardinalities: Sequence[int], terms: Sequence[Term]
    ) -> Iterator[tuple[tuple[int, ...], list[Term]]]:
        """Runs of terms whose joint table stays small, with the columns they depend on together."""
        largest = max(_LARGEST_TABLE_ROWS, _LARGEST_TABLE_BYTES // self._row_bytes)
        columns: tuple[int, ...] = ()
        members: list[Term] = []
        for term in terms:
            joint = tuple(sorted({*columns, *term.columns}))
            rows = int(np.prod([cardinalities[column] for column in joint], dtype=np.int64))
            if members and rows > largest:
                yield columns, members
                joint, members = tuple(sorted(term.columns)), []
            columns = joint
            members.append(term)
        yield columns, members

    def _fuse(
        self, cardinalities: Sequence[int], columns: tuple[int, ...], members: Sequence[Term]
    ) -> npt.NDArray[Any]:
        shape = tuple(cardinalities[column] for column in columns)
        if int(np.prod(shape, dtype=np.int64)) >= _LARGEST_EXACT_FLOAT32:
            raise ValueError("A table has too many rows to be indexed in single precision.")
        fused: npt.NDArray[Any] | None = None
        for term in members:
            own = tuple(cardinalities[c] if c in term.columns else 1 for c in columns)
            part = term.table.reshape(*own, self.num_figures)
            fused = part if fused is None else self._combine(fused, part)
        assert fused is not None
        full = np.broadcast_to(fused, (*shape, self.num_figures))
        return np.ascontiguousarray(full.reshape(-1, self.num_figures), dtype=self._dtype)


def chunks(num_rows: int, chunk_rows: int = CHUNK_ROWS) -> Iterator[slice]:
    """Slices that cut a population of `num_rows` into chunks that stay in the cache."""
    starts = range(0, num_rows, chunk_rows)
    for start, end in itertools.zip_longest(starts, starts[1:], fillvalue=num_rows):
        yield slice(start, end)

"""MACs, parameters and peak activation memory of whole encoded populations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity.macs import count_macs
from ofa_toolkit.complexity.memory import peak_activation_elements
from ofa_toolkit.complexity.params import count_params
from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.fused_tables import FusedTables
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.units import UnitTables

Counts = npt.NDArray[np.int64]

_ROWS_WITHOUT_TABLES = 20
"""Lowering so many subnets one by one takes half as long as lowering every unit of a space."""


class PopulationComplexity:
    """Costs of encoded subnets, exact; of many without a loop over them.

    Args:
        space: The space whose encoding the populations have.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._macs = _Count(space, count_macs, np.add)
        self._params = _Count(space, count_params, np.add)
        # Nothing but a unit's own input crosses its border, so the peak of the parts is that of the whole.
        self._memory = _Count(space, peak_activation_elements, np.maximum)

    def macs(self, population: Population) -> Counts:
        """Multiply-accumulates of each row of `(N, genes)`, `(N,)`."""
        return self._macs(population)

    def params(self, population: Population) -> Counts:
        """Parameters of each row, `(N,)`."""
        return self._params(population)

    def peak_activation_elements(self, population: Population) -> Counts:
        """Largest number of live activation values of each row, `(N,)`."""
        return self._memory(population)


class _Count:
    """One figure of encoded subnets: from the layers of the first few, then from tables of all units."""

    def __init__(
        self, space: SearchSpace, figure: Callable[[Sequence[LayerSpec]], int], combine: np.ufunc
    ) -> None:
        self._space = space
        self._figure = figure
        self._combine = combine
        self._num_rows = 0

    def __call__(self, population: Population) -> Counts:
        self._num_rows += len(population)
        if self._num_rows <= _ROWS_WITHOUT_TABLES:
            subnets = Encoding(self._space).decode(population)
            return np.array([self._figure(lower(self._space, subnet)) for subnet in subnets], dtype=np.int64)
        return self._tables(population)[:, 0].astype(np.int64)

    @functools.cached_property
    def _tables(self) -> FusedTables:
        units = UnitTables(self._space)
        return units.fuse(units.tables(self._figure), combine=self._combine)

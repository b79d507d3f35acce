"""MACs, parameters and peak activation memory of whole encoded populations."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity.macs import count_macs
from ofa_toolkit.complexity.memory import peak_activation_elements
from ofa_toolkit.complexity.params import count_params
from ofa_toolkit.spaces.fused_tables import FusedTables
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.units import UnitTables

Counts = npt.NDArray[np.int64]


class PopulationComplexity:
    """Costs of encoded subnets, exact and without a loop over them. Tables are built on first use.

    Args:
        space: The space whose encoding the populations have.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._units = UnitTables(space)

    def macs(self, population: npt.NDArray[np.integer]) -> Counts:
        """Multiply-accumulates of each row of `(N, genes)`, `(N,)`."""
        return self._macs(population)[:, 0].astype(np.int64)

    def params(self, population: npt.NDArray[np.integer]) -> Counts:
        """Parameters of each row, `(N,)`."""
        return self._params(population)[:, 0].astype(np.int64)

    def peak_activation_elements(self, population: npt.NDArray[np.integer]) -> Counts:
        """Largest number of live activation values of each row, `(N,)`.

        Nothing but a unit's own input crosses its border, so the peak of the parts is that of the whole.
        """
        return self._memory(population)[:, 0].astype(np.int64)

    @functools.cached_property
    def _macs(self) -> FusedTables:
        return self._units.fuse(self._units.tables(count_macs))

    @functools.cached_property
    def _params(self) -> FusedTables:
        return self._units.fuse(self._units.tables(count_params))

    @functools.cached_property
    def _memory(self) -> FusedTables:
        return self._units.fuse(self._units.tables(peak_activation_elements), combine=np.maximum)

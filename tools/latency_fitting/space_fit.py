"""From measured subnets of a space to its unit tables.

The design adds up over units: for every block and choice a constant and a term in its output area, for every
stage the MACs, values and weights of its layers, for every resolution a constant and a term per block. Its
coefficients are a ridge regression on relative errors, re-weighted so that outliers (a measurement disturbed
by something else) do not pull it; they collapse into one number per unit and combination of genes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from ofa_toolkit.complexity.macs import layer_macs
from ofa_toolkit.latency.predictors.space_table import SpaceTable
from ofa_toolkit.spaces import SearchSpace
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import UnitTables

Array = npt.NDArray[np.float64]

_NUM_ROBUST_STEPS = 4
_OUTLIER_SCALE = 2.0
_SMOOTH_ABSOLUTE = 0.005
_SOFT_MAXIMUM = 60.0
_NUM_PHYSICAL = 10
_LATEST = 0.1
_LEAST_DRIFT = 0.005


def _physical(layers: Sequence[LayerSpec]) -> Array:
    """Work and traffic of one unit: MACs, values and weights by kind of layer, in millions."""
    total = np.zeros(_NUM_PHYSICAL)
    for layer in layers:
        written = layer.out_channels * layer.out_size**2 / 1e6
        if layer.has_weights:
            macs = layer_macs(layer) / 1e6
            total[6] += macs / layer.out_size**2
            if layer.is_depthwise:
                total[1] += macs
                total[3] += written
            elif layer.out_size == 1:
                total[5] += macs
                total[8] += 1
            else:
                total[0] += macs
                total[2 if layer.activation else 4] += written
        elif layer.kind == "scale":
            total[7] += written
        elif layer.kind == "add":
            total[9] += written
    return total


class UnitDesign:
    """Columns that add up over the units of an MBConv space of fixed widths.

    Args:
        space: The space.
        is_every_resolution_measured: Whether each resolution may have columns of its own; otherwise the
            side and area of the image take their place, so that tables reach resolutions without rows.
    """

    def __init__(self, space: SearchSpace, *, is_every_resolution_measured: bool) -> None:
        self.units = UnitTables(space)
        self._parts: list[tuple[int, Array]] = []
        self.num_columns = 0
        sides = np.array(space.resolutions, dtype=np.float64) / max(space.resolutions)
        identity = np.eye(len(sides)) if is_every_resolution_measured else np.c_[sides, sides**2]
        physical = self.units.tables(_physical)
        start_of_stage: dict[str, int] = {}
        for unit, table in zip(self.units.units, physical, strict=True):
            stage = unit.name.rpartition(".")[0] or unit.name
            columns = [table]
            if stage not in start_of_stage:
                per_block = identity.shape[1] if stage.startswith("stages") else 0
                start_of_stage[stage] = self._reserve(_NUM_PHYSICAL + per_block)
            if stage.startswith("stages"):
                is_present = (np.arange(unit.shape[-1]) > 0).astype(np.float64)
                columns.append(np.einsum("rk,c->rck", identity, is_present).reshape(len(table), -1))
            self._parts.append((start_of_stage[stage], np.hstack(columns)))
            if stage.startswith("stages"):
                self._add_cells(unit.shape, table)
        resolutions = identity if is_every_resolution_measured else np.c_[identity, np.ones(len(sides))]
        self._resolution_start = self._reserve(resolutions.shape[1])
        self._resolution_columns = resolutions

    def _reserve(self, count: int) -> int:
        start = self.num_columns
        self.num_columns += count
        return start

    def _add_cells(self, shape: tuple[int, ...], physical: Array) -> None:
        """One constant and one area term for each choice of a block."""
        num_resolutions, num_codes = shape
        choice = np.tile(np.eye(num_codes)[:, 1:], (num_resolutions, 1))
        area = physical[:, 4].reshape(shape)[:, 1]
        area = np.repeat(area / area.max(), num_codes)[:, None]
        self._parts.append((self._reserve(2 * (num_codes - 1)), np.hstack([choice, choice * area])))

    def _unit_parts(self) -> list[list[tuple[int, Array]]]:
        """The parts of each unit: stem, blocks (two each), head."""
        grouped: list[list[tuple[int, Array]]] = []
        position = 0
        for unit in self.units.units:
            count = 2 if unit.name.startswith("stages") else 1
            grouped.append(self._parts[position : position + count])
            position += count
        grouped[0] = [*grouped[0], (self._resolution_start, self._resolution_columns)]
        return grouped

    def rows(self, population: Population) -> Array:
        """Design matrix of encoded subnets, `(N, columns)`."""
        design = np.zeros((len(population), self.num_columns))
        for index, parts in zip(self.units.indices(population), self._unit_parts(), strict=True):
            for start, table in parts:
                design[:, start : start + table.shape[1]] += table[index]
        return design

    def tables(self, coefficients: Array) -> list[Array]:
        """What each unit adds, `(combinations, 1)`, for coefficients of the columns."""
        return [
            sum(table @ coefficients[start : start + table.shape[1]] for start, table in parts)[:, None]
            for parts in self._unit_parts()
        ]


def robust_ridge(design: Array, latencies: Array, alpha: float = 1.0) -> Array:
    """Coefficients of a ridge regression on relative errors with Cauchy weights; no intercept of its own.

    Columns are scaled to unit spread; the penalty holds each one towards zero. The columns of the
    resolutions hold the constant.
    """
    scale = np.sqrt((design**2).mean(axis=0))
    scale[scale == 0] = 1.0
    scaled = design / scale
    base = (latencies.mean() / latencies) ** 2
    weights = base.copy()
    solution = np.zeros(design.shape[1])
    for _ in range(_NUM_ROBUST_STEPS):
        weighted = scaled * weights[:, None]
        normal = scaled.T @ weighted
        normal[np.diag_indices_from(normal)] += alpha
        solution = np.linalg.solve(normal, weighted.T @ latencies)
        error = scaled @ solution / latencies - 1
        spread = 1.4826 * np.median(np.abs(error))
        weights = base / (1 + (error / (_OUTLIER_SCALE * spread)) ** 2)
    return solution / scale


def fit_sum(design: UnitDesign, population: Population, latencies: Array, alpha: float = 1.0) -> list[Array]:
    """Unit tables whose sums are latencies."""
    return design.tables(robust_ridge(design.rows(population), latencies, alpha))


def fit_max(
    design: UnitDesign,
    population: Population,
    latencies: Array,
    device_tables: Sequence[Array],
    host_tables: Sequence[Array],
) -> list[Array]:
    """Unit tables of two figures whose larger sum is the latency.

    Args:
        design: Of the space.
        population: Encoded subnets.
        latencies: What they took at this batch size, in ms.
        device_tables: Unit tables of a large batch, where the device's work decides.
        host_tables: Unit tables of batch 1, where launching decides.
    """
    basis = _max_basis(design, device_tables, host_tables)
    columns = design.units.sum(population, basis)
    num_basis = columns.shape[1]
    start = np.zeros((2, num_basis))
    ratio = latencies / columns[:, 0]
    start[0, 0] = np.quantile(ratio, 0.1)
    start[1, 1] = min(1.0, float(np.quantile(latencies / columns[:, 1], 0.2)))
    scale = np.sqrt((columns**2).mean(axis=0))
    scale[scale == 0] = 1.0
    scaled, target = columns / scale, np.log(latencies)

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(2, num_basis)
        sums = np.maximum(scaled @ weights.T, 1e-3)
        logs = np.log(sums)
        combined = np.logaddexp(_SOFT_MAXIMUM * logs[:, 0], _SOFT_MAXIMUM * logs[:, 1]) / _SOFT_MAXIMUM
        error = combined - target
        rounded = np.sqrt(error**2 + _SMOOTH_ABSOLUTE**2)
        share = np.exp(_SOFT_MAXIMUM * (logs - combined[:, None]))
        outer = (error / rounded / len(target))[:, None] * share / sums
        penalty = 1e-6 * float(((flat - (start * scale).ravel()) ** 2).sum())
        gradient = (outer.T @ scaled).ravel() + 2e-6 * (flat - (start * scale).ravel())
        return float(rounded.mean()) + penalty, gradient

    found = minimize(loss, (start * scale).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    weights = found.x.reshape(2, num_basis) / scale
    return [table @ weights.T for table in basis]


def _max_basis(
    design: UnitDesign, device_tables: Sequence[Array], host_tables: Sequence[Array]
) -> list[Array]:
    """Per unit: what it adds at the large batch and at batch 1, which blocks are there, side, area, one."""
    units = design.units
    optional = [unit.name for unit in units.units if unit.name.startswith("stages")]
    sides = np.array(units.space.resolutions, dtype=np.float64) / max(units.space.resolutions)
    basis = []
    for unit, device, host in zip(units.units, device_tables, host_tables, strict=True):
        flags = np.zeros((len(device), len(optional) + 3))
        if unit.name in optional:
            flags[:, optional.index(unit.name)] = (np.arange(len(device)) % unit.shape[-1]) > 0
        elif unit.name == units.units[0].name:
            flags[:, -3:] = np.c_[sides, sides**2, np.ones(len(sides))]
        basis.append(np.hstack([device, host, flags]))
    return basis


def predict(design: UnitDesign, tables: Sequence[Array], population: Population) -> Array:
    """Latency of encoded subnets from unit tables of one or two figures."""
    return design.units.sum(population, tables).max(axis=1)


def latest_level(measured: Array, predicted: Array) -> float:
    """How much slower the last tenth of the rows is than all of them; 1 where they do not differ by 0.5 %.

    Clocks and temperatures drift while thousands of networks are timed one after another. Whoever measures
    next finds the level of the last rows, not that of the mean.

    Args:
        measured: Latencies in the order of measuring.
        predicted: A fit to them.
    """
    left = np.log(measured / predicted)
    drift = float(np.median(left[-round(_LATEST * len(left)) :]) - np.median(left))
    return float(np.exp(drift)) if abs(drift) > _LEAST_DRIFT else 1.0


def space_table(
    design: UnitDesign, tables: Sequence[Array], measured_resolutions: Sequence[int]
) -> SpaceTable:
    """The predictor that ships."""
    return SpaceTable(
        space=design.units.space,
        head="sum" if tables[0].shape[1] == 1 else "max",
        tables=tuple(table.astype(np.float32) for table in tables),
        resolutions=tuple(sorted(int(value) for value in measured_resolutions)),
    )

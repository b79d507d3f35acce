"""Which subnets a kit asks a board to time, and in which order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.latency.calibration import MIN_PROBES
from ofa_toolkit.spaces import Population


def choose_probes(population: Population, cost: npt.NDArray[np.floating], num_probes: int) -> Population:
    """Subnets spread evenly over the costs, ordered so that every prefix is spread as well.

    Probes spread over the range of latencies calibrate better than random ones. The order follows the van
    der Corput sequence, which halves the widest gaps again and again: a board that stops after ten probes
    has still seen small, large and middling networks.

    Args:
        population: Candidates `(N, genes)`.
        cost: Quantity to spread over, such as predicted latency, `(N,)`.
        num_probes: Number of probes to choose.

    Raises:
        MeasurementError: There are fewer distinct candidates.
    """
    _, first = np.unique(population, axis=0, return_index=True)
    if num_probes > len(first):
        raise MeasurementError(
            f"{num_probes} probes were asked for; there are only {counted(len(first), 'candidate')}.",
            hint="Ask for fewer with --num-probes." if len(first) >= MIN_PROBES else None,
        )
    candidates = first[np.argsort(cost[first], kind="stable")]
    positions = np.linspace(0, len(candidates) - 1, num_probes).round().astype(int)
    order = np.argsort(np.argsort([_van_der_corput(index) for index in range(num_probes)]))
    chosen: Population = population[candidates[positions[order]]]
    return chosen


def _van_der_corput(index: int) -> float:
    """Bits of `index` mirrored at the point: 0, 1/2, 1/4, 3/4, 1/8, ..."""
    value, weight = 0.0, 0.5
    while index:
        value += weight * (index & 1)
        index >>= 1
        weight /= 2
    return value

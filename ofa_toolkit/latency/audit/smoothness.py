"""Single rows that do not fit what their neighbours say: swapped, or in another unit by a small factor."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from ofa_toolkit.latency.audit.rows import AuditTable, Row

_FEWEST_NETWORKS = 8
_SPREADS = 8.0
# Honest blocks deviate by up to a fifth where an implementation changes with the shape; honest networks by
# up to 30 % from a power of their work, small ones on large GPUs most.
_LEAST_OF_BLOCKS, _LEAST_OF_NETWORKS = 0.25, 0.35
_POLISHES = 10


def odd_rows(table: AuditTable) -> list[str]:
    """Rows far from a smooth model of the others, by their names.

    Blocks of one shape take a factor for their kernel and one for their width; whole networks a power of
    their work. Named are those beyond eight typical deviations and beyond what honest rows show.
    """
    sane = [row for row in table.rows if math.isfinite(row.time_ms) and row.time_ms > 0]
    blocks: dict[str, list[Row]] = {}
    for row in sane:
        if row.kernel_family and row.width_family:
            blocks.setdefault(_shape(row), []).append(row)
    found: list[tuple[Row, float]] = []
    for rows in blocks.values():
        found += _block_residuals(rows)
    networks = [row for row in sane if row.is_whole and row.macs > 0]
    odd = _beyond(found, _LEAST_OF_BLOCKS)
    if len(networks) >= _FEWEST_NETWORKS:
        odd += _beyond(_network_residuals(networks), _LEAST_OF_NETWORKS)
    return odd


def _shape(row: Row) -> str:
    """What rows of all kernels and widths of a block share, in either way of naming them."""
    return re.sub(r"-kernel:\d+-", "-kernel:*-", re.sub(r"(?<= )k[\d-]+(?= )", "k*", row.width_family))


def _block_residuals(rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """Logarithmic residuals of time = factor of the kernel x factor of the width, by median polish."""
    kernels = sorted({row.kernel_size for row in rows})
    widths = sorted({row.width for row in rows})
    if min(len(kernels), len(widths)) < 2:
        return []
    left = np.full((len(kernels), len(widths)), np.nan)
    for row in rows:
        left[kernels.index(row.kernel_size), widths.index(row.width)] = math.log(row.time_ms)
    for _ in range(_POLISHES):
        left -= np.nanmedian(left, axis=1, keepdims=True)
        left -= np.nanmedian(left, axis=0, keepdims=True)
    return [(row, left[kernels.index(row.kernel_size), widths.index(row.width)]) for row in rows]


def _network_residuals(rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """Logarithmic residuals of time = constant x work to a power, whose slope is the median of all pairs'."""
    work = np.log([row.macs for row in rows])
    time = np.log([row.time_ms for row in rows])
    first, second = np.triu_indices(len(rows), 1)
    apart = np.abs(work[first] - work[second]) > 1e-6
    slopes = (time[second] - time[first])[apart] / (work[second] - work[first])[apart]
    left = time - (float(np.median(slopes)) if len(slopes) else 0.0) * work
    return list(zip(rows, (left - np.median(left)).tolist(), strict=True))


def _beyond(found: Sequence[tuple[Row, float]], least: float) -> list[str]:
    if not found:
        return []
    deviations = np.abs([deviation for _, deviation in found])
    limit = max(_SPREADS * 1.4826 * float(np.median(deviations)), least)
    return [row.name for (row, _), far in zip(found, deviations > limit, strict=True) if far]

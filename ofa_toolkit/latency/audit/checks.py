"""Can a latency table be true? Checks that every honest table passes and known bad ones do not.

A public table of a Jetson GPU was found to hold rows copied bit for bit from a phone's, and to show no effect
of the kernel size, because its timing did not wait for the GPU. Such mistakes are visible without the device.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ofa_toolkit.latency.audit.rows import AuditTable, Row
from ofa_toolkit.latency.audit.smoothness import odd_rows

_FEWEST_RUNS = 10
_FEWEST_EQUAL = 5
_EQUAL = 2e-7
_MANY_DIGITS = 6
# Shipped tables of different devices spread by 0.3 % at least around a factor.
_SCALED_MEASURED, _SCALED_PREDICTED = 0.002, 0.001
_FEWEST_SCALED, _SHARE_SCALED = 8, 0.9
_NO_EFFECT = 0.003
_SOME_EFFECT = 0.25
_FEWEST_FAMILIES = 4
_DROP_MEASURED, _DROP_PREDICTED = 0.25, 0.12
# Honest tables reach 0.23 of the kernel's area at the median and 1.1 of the work for a wider block.
_MOST_KERNEL_SHARE = 0.5
_MOST_GROWTH = 1.5
_ODD_RATE = 300.0
_SLOWEST_MACS_PER_MS = 5e4
# Where the peak is known, the least of it that is used, and the most that one call may take besides.
_LEAST_OF_PEAK = 0.005
_MOST_OVERHEAD_MS = {True: 300.0, False: 3.0}
_FASTEST_TFLOPS = {"cpu": 20.0, "phone": 10.0, "embedded-gpu": 300.0, "gpu": 3000.0, None: 3000.0}


@dataclass(frozen=True, kw_only=True)
class AuditFinding:
    """Something that cannot be, or should not.

    Attributes:
        check: Name of the check.
        table: Name of the table at fault.
        message: The fault, in one sentence.
        rows: The rows it is about.
        other: The table they were compared with; None where none was.
    """

    check: str
    table: str
    message: str
    rows: tuple[str, ...] = field(default=())
    other: str | None = None


Check = Callable[[AuditTable, Sequence[AuditTable]], list[AuditFinding]]


def audit(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """Make all checks.

    Args:
        table: Table to look at.
        others: Rows of other devices, to find copies.
    """
    checks = (identical, scaled) if table.is_for_copies else CHECKS
    return [finding for check in checks for finding in check(table, others)]


def positive(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """Times are positive numbers."""
    del others
    bad = [row.name for row in table.rows if not (math.isfinite(row.time_ms) and row.time_ms > 0)]
    return _found("positive", table, "times that are not positive numbers", bad)


def identical(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """No two devices take equally long to the last digit: not once with six digits, seldom with fewer."""
    findings = []
    for other in others:
        shared = _shared(table, other)
        equal = [(row, own) for row, own, theirs in shared if math.isclose(own, theirs, rel_tol=_EQUAL)]
        is_exact = any(_num_digits(own) >= _MANY_DIGITS for _, own in equal)
        if is_exact or len(equal) >= max(_FEWEST_EQUAL, 0.02 * len(shared)):
            message = f"times equal to those of {other.name} in every digit"
            findings += _compared("identical", table, other, message, [row for row, _ in equal])
    return findings


def scaled(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """No device is another one times a factor, in every kind of work alike."""
    findings = []
    most = _SCALED_PREDICTED if table.is_prediction else _SCALED_MEASURED
    for other in others:
        shared = _shared(table, other)
        if len(shared) < _FEWEST_SCALED:
            continue
        ratios = np.log([own / theirs for _, own, theirs in shared])
        middle = float(np.median(ratios))
        distances = np.abs(ratios - middle)
        near = [row for (row, _, _), far in zip(shared, distances > 3 * most, strict=True) if not far]
        is_close = 1.4826 * float(np.median(distances)) < most and len(near) >= _SHARE_SCALED * len(shared)
        if is_close and abs(middle) > _EQUAL:
            message = f"times that are {math.exp(middle):.4g} times those of {other.name}"
            findings += _compared("scaled", table, other, message, near)
    return findings


def smooth(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """No row is far from what its neighbours say: two rows swapped, or one times three."""
    del others
    if table.is_prediction:
        return []
    message = "times far from those of their neighbours: rows swapped, or scaled"
    return _found("smooth", table, message, odd_rows(table))


def kernel_effect(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """Larger kernels take longer; where they do not, the timing did not wait for the device.

    Predictions for whole networks are excused where wider blocks hardly take longer either: such a network
    is bound by its launches, as small batches on large GPUs are.
    """
    del others
    effects, names = _effects(table, "kernel_family", "kernel_size")
    if len(effects) < _FEWEST_FAMILIES or float(np.median(effects)) > _NO_EFFECT:
        return []
    if table.is_prediction:
        widths, _ = _effects(table, "width_family", "width")
        if not widths or float(np.median(widths)) < _SOME_EFFECT:
            return []
    message = f"no effect of the kernel size: the median change is {100 * float(np.median(effects)):+.2f} %"
    return _found("kernel-effect", table, message, names)


def monotone(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """More work of the same kind does not take much less time."""
    del others
    tolerance = _DROP_PREDICTED if table.is_prediction else _DROP_MEASURED
    bad = []
    for family, choice in (("kernel_family", "kernel_size"), ("width_family", "width")):
        for rows in _families(table, family, choice):
            bad += [
                larger.name
                for smaller, larger in itertools.pairwise(rows)
                if larger.time_ms < smaller.time_ms * (1 - tolerance)
            ]
    message = f"times more than {100 * tolerance:.0f} % below those of a smaller kernel or width"
    return _found("monotone", table, message, sorted(set(bad)))


def growth(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """Time does not grow faster than the work behind it.

    A kernel's work is its area and is only part of a block's, so a block's time never grows as much as the
    area, and over many blocks by a small part of that. A wider block's work is its MACs.
    """
    del others
    by_kernel = _families(table, "kernel_family", "kernel_size")
    shares = [
        (rows[-1].time_ms / rows[0].time_ms - 1) / ((rows[-1].kernel_size / rows[0].kernel_size) ** 2 - 1)
        for rows in by_kernel
    ]
    if len(shares) >= _FEWEST_FAMILIES and (share := float(np.median(shares))) > _MOST_KERNEL_SHARE:
        message = f"kernel sizes matter too much: {share:.0%} of the growth of their area, at the median"
        findings = _found("growth", table, message, [row.name for rows in by_kernel for row in rows])
    else:
        bad = _beyond(by_kernel, lambda row: float(row.kernel_size**2))
        findings = _found("growth", table, "times that grow more than the kernel's area does", bad)
    by_width = [
        rows for rows in _families(table, "width_family", "width") if all(row.macs > 0 for row in rows)
    ]
    bad = _beyond(by_width, lambda row: row.macs, slack=_MOST_GROWTH)
    message = f"times that grow {_MOST_GROWTH:g} times as much as the work of a wider block"
    return findings + _found("growth", table, message, bad)


def units(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """No row is a thousand times off its neighbours, and the whole is not a thousand times too slow."""
    del others
    findings = []
    for is_whole in (False, True):
        rows = [row for row in _sane(table) if row.macs > 0 and row.is_whole == is_whole]
        if not rows:
            continue
        rates = np.array([row.macs / row.time_ms for row in rows])
        middle = float(np.median(rates))
        odd = [
            row.name
            for row, rate in zip(rows, rates, strict=True)
            if rate > middle * _ODD_RATE or (rate < middle / _ODD_RATE and row.time_ms > _median_time(rows))
        ]
        message = (
            f"times more than {_ODD_RATE:.0f} times off the others for the same work: s, ms or us mixed up"
        )
        findings += _found("units", table, message, odd)
        if middle < _SLOWEST_MACS_PER_MS or _is_too_slow(rows, table.peak.fp32_tflops, is_whole=is_whole):
            message = f"{middle / 1e3:.3g} MMAC/s at the median: us read as ms, or ms as s"
            findings += _found("units", table, message, [row.name for row in rows])
    return findings


def _is_too_slow(rows: Sequence[Row], peak_tflops: float | None, *, is_whole: bool) -> bool:
    """Whether most rows take longer than a chip of that peak could."""
    if peak_tflops is None:
        return False
    most = [2e-9 * row.macs / (peak_tflops * _LEAST_OF_PEAK) + _MOST_OVERHEAD_MS[is_whole] for row in rows]
    return float(np.median([row.time_ms / limit for row, limit in zip(rows, most, strict=True)])) > 1


def throughput(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """Nothing computes faster than the chip can."""
    del others
    limit, source = _limit_tflops(table)
    bad = [row.name for row in _sane(table) if 2 * row.macs / row.time_ms * 1e-9 > limit]
    message = f"throughput beyond {limit:.3g} TFLOP/s, {source}: s read as ms, ms as us, or not synchronised"
    return _found("throughput", table, message, bad)


def repeats(table: AuditTable, others: Sequence[AuditTable]) -> list[AuditFinding]:
    """A time is a median over several runs."""
    del others
    few = [row.name for row in table.rows if row.num_runs is not None and row.num_runs < _FEWEST_RUNS]
    return _found("repeats", table, f"fewer than {_FEWEST_RUNS} repeats", few)


CHECKS: tuple[Check, ...] = (
    *(positive, identical, scaled, kernel_effect, monotone, growth, smooth, units, throughput, repeats),
)


def _found(check: str, table: AuditTable, message: str, rows: Sequence[str]) -> list[AuditFinding]:
    if not rows:
        return []
    text = f"{len(rows)} of {len(table.rows)} rows: {message}"
    return [AuditFinding(check=check, table=table.name, message=text, rows=tuple(rows))]


def _compared(
    check: str, table: AuditTable, other: AuditTable, message: str, rows: Sequence[str]
) -> list[AuditFinding]:
    return [replace(found, other=other.name) for found in _found(check, table, message, rows)]


def _shared(table: AuditTable, other: AuditTable) -> list[tuple[str, float, float]]:
    """Rows of both tables by what was timed: name here, time here, time there."""
    theirs = {row.cell or row.name: row.time_ms for row in _sane(other)}
    return [
        (row.name, row.time_ms, theirs[cell])
        for row in _sane(table)
        if (cell := row.cell or row.name) in theirs
    ]


def _num_digits(value: float) -> int:
    """Significant digits of a number as it was written."""
    return len(f"{value:.12g}".partition("e")[0].replace(".", "").lstrip("-0"))


def _sane(table: AuditTable) -> list[Row]:
    return [row for row in table.rows if math.isfinite(row.time_ms) and row.time_ms > 0]


def _median_time(rows: Sequence[Row]) -> float:
    return float(np.median([row.time_ms for row in rows]))


def _families(table: AuditTable, family: str, choice: str) -> list[list[Row]]:
    """Rows that differ in one choice, the smallest choice first; families of one are left out."""
    grouped: dict[str, list[Row]] = {}
    for row in _sane(table):
        name = getattr(row, family)
        if name:
            grouped.setdefault(name, []).append(row)
    found = []
    for rows in grouped.values():
        distinct = {getattr(row, choice): row for row in rows}
        if len(distinct) > 1:
            found.append([distinct[value] for value in sorted(distinct)])
    return found


def _beyond(families: Sequence[Sequence[Row]], work: Callable[[Row], float], slack: float = 1.0) -> list[str]:
    """Rows whose time, compared with every smaller row of their family, grows more than the work does."""
    return [
        row.name
        for rows in families
        for number, row in enumerate(rows[1:], start=1)
        if all(row.time_ms > slack * small.time_ms * work(row) / work(small) for small in rows[:number])
    ]


def _effects(table: AuditTable, family: str, choice: str) -> tuple[list[float], list[str]]:
    """Relative change from the smallest to the largest choice of each family, and the rows involved."""
    effects: list[float] = []
    names: list[str] = []
    for rows in _families(table, family, choice):
        effects.append(rows[-1].time_ms / rows[0].time_ms - 1)
        names += [row.name for row in rows]
    return effects, names


def _limit_tflops(table: AuditTable) -> tuple[float, str]:
    """The data sheet's peak, or what no device of the kind reaches."""
    peak = table.peak
    known = [value for value in (peak.fp32_tflops, peak.fp16_tflops, peak.int8_tops) if value is not None]
    by_precision = {
        "fp32": peak.fp32_tflops,
        "tf32": peak.fp16_tflops,
        "fp16": peak.fp16_tflops,
        "bf16": peak.fp16_tflops,
        "int8": peak.int8_tops,
    }
    value = by_precision.get(table.precision or "")
    if table.precision == "fp32" and table.has_tf32:
        # Frameworks compute fp32 convolutions in TF32 by default: at most half the fp16 rate.
        value = max(filter(None, (peak.fp32_tflops, 0.5 * (peak.fp16_tflops or 0))), default=None)
    if value is not None:
        return value, "the chip's peak"
    if known:
        return max(known), "the chip's highest peak"
    return _FASTEST_TFLOPS.get(table.kind, _FASTEST_TFLOPS[None]), "more than any such device has"

"""Where each check of the audit begins to find fault, by rows whose figures are worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest

from ofa_toolkit.latency.audit import checks
from ofa_toolkit.latency.audit.rows import (
    AuditTable,
    Row,
)
from ofa_toolkit.latency.device import Peak

NAN, INF = float("nan"), float("inf")


def table(*rows: Row, name: str = "own", **facts: object) -> AuditTable:
    return AuditTable(name=name, rows=rows, **facts)  # type: ignore[arg-type]


def timed(*times: float, name: str = "own", **facts: object) -> AuditTable:
    """Rows r0, r1, ... of these times."""
    rows = (Row(name=f"r{number}", time_ms=time) for number, time in enumerate(times))
    return table(*rows, name=name, **facts)


def named(found: list[checks.AuditFinding]) -> set[str]:
    return {row for finding in found for row in finding.rows}


def kernels(family: str, *times: float, size: int = 1) -> list[Row]:
    """A family of kernels of side 1, 2, ... (or `size` times these)."""
    return [
        Row(name=f"{family}{n}", time_ms=time, kernel_family=family, kernel_size=size * n)
        for n, time in enumerate(times, start=1)
    ]


def widths(family: str, *times: float, macs: float = 1e6) -> list[Row]:
    """A family of widths 1, 2, ... whose work grows alike."""
    return [
        Row(name=f"{family}{n}", time_ms=time, macs=macs * n, width_family=family, width=n)
        for n, time in enumerate(times, start=1)
    ]


def test_times_that_are_none_are_named_with_how_many_there_are() -> None:
    (found,) = checks.positive(timed(1.0, 0.0, NAN, INF, -1.0, 1e-9), [])
    assert found.rows == ("r1", "r2", "r3", "r4")
    assert (found.check, found.table, found.other) == ("positive", "own", None)
    assert found.message.startswith("4 of 6 rows: ")


@pytest.mark.parametrize(
    ("times", "others", "equal"),
    [
        ([1.23456, 9], [1.23456, 8], {"r0"}),  # six digits are equal once only by copying
        ([0.00123456, 9], [0.00123456, 8], {"r0"}),
        ([1.2345, 9], [1.2345, 8], set()),
        ([1.23456e-7, 9], [1.23456e-7, 8], {"r0"}),
        ([1.2e-12, 9], [1.2e-12, 8], set()),
        ([1.2345678, 9], [1.2345678 * (1 + 1e-7), 8], {"r0"}),
        ([1.2345678, 9], [1.2345678 * (1 + 4e-7), 8], set()),
        ([1.1, 1.2, 1.3, 1.4, 9], [1.1, 1.2, 1.3, 1.4, 8], set()),
        ([1.1, 1.2, 1.3, 1.4, 1.5, 9], [1.1, 1.2, 1.3, 1.4, 1.5, 8], {"r0", "r1", "r2", "r3", "r4"}),
        # Of three hundred, five are by chance (2 % are six).
        ([1.1] * 5 + [9] * 295, [1.1] * 5 + [8] * 295, set()),
        ([1.1] * 6 + [9] * 294, [1.1] * 6 + [8] * 294, {f"r{n}" for n in range(6)}),
        # What is no time is compared with nothing.
        ([0.0, NAN, INF, -0.1234567], [0.0, NAN, INF, -0.1234567], set()),
        ([0.0] * 5 + [-0.5] * 5, [0.0] * 5 + [-0.5] * 5, set()),
    ],
)
def test_equal_times(times: list[float], others: list[float], equal: set[str]) -> None:
    found = checks.identical(timed(*times), [timed(*others, name="phone")])
    assert named(found) == equal
    assert [finding.other for finding in found] == ["phone"] * bool(equal)


def test_rows_are_compared_by_what_was_timed_whatever_they_are_called() -> None:
    own = table(Row(name="line 2", time_ms=1.23456, cell="subnet"), Row(name="line 3", time_ms=2.34567))
    other = table(Row(name="line 9", time_ms=1.23456, cell="subnet"), Row(name="line 7", time_ms=2.34567))
    assert named(checks.identical(own, [other])) == {"line 2"}


def scaled_by(*logarithms: float, **facts: object) -> set[str]:
    others = [1.0 + number for number in range(len(logarithms))]
    own = [theirs * math.exp(log) for theirs, log in zip(others, logarithms, strict=True)]
    return named(checks.scaled(timed(*own, **facts), [timed(*others)]))


@pytest.mark.parametrize(
    ("logarithms", "is_prediction", "num_named"),
    [
        ([0.1] * 7, False, 0),
        ([0.1] * 8, False, 8),
        ([0.0] * 8, False, 0),  # equal, which is another finding
        # Two per mille of typical deviation (1.4826 times the median one), of predictions one.
        ([0.1, 0.1013, 0.0987] * 4, False, 12),
        ([0.1 - 0.0013, 0.1 + 0.0013] * 6, False, 12),
        ([0.1 - 0.0014, 0.1 + 0.0014] * 6, False, 0),
        ([0.1 - 0.0006, 0.1 + 0.0006] * 6, True, 12),
        ([0.1 - 0.0007, 0.1 + 0.0007] * 6, True, 0),
        # Nine of ten rows within three of these are enough.
        ([0.1] * 9 + [0.7], False, 9),
        ([0.1] * 8 + [0.7] * 2, False, 0),
        ([0.1] * 9 + [0.1058], False, 10),
        ([0.1] * 9 + [0.1062], False, 9),
        ([0.1] * 9 + [0.1028], True, 10),
        ([0.1] * 9 + [0.1032], True, 9),
    ],
)
def test_scaled_copies(logarithms: list[float], is_prediction: bool, num_named: int) -> None:
    assert len(scaled_by(*logarithms, is_prediction=is_prediction)) == num_named


def test_a_scaled_copy_is_told_with_its_factor() -> None:
    (found,) = checks.scaled(timed(*[2.5 * (n + 1) for n in range(8)]), [timed(*range(1, 9), name="phone")])
    assert "2.5 times those of phone" in found.message
    few, copied = timed(1.0, 2.0, name="few"), timed(*range(1, 9), name="phone")
    own = timed(*[2.5 * (n + 1) for n in range(8)])
    assert [found.other for found in checks.scaled(own, [few, copied, few])] == ["phone"]


def families_of(num: int, ratio: float, make: Callable[..., list[Row]] = kernels) -> list[Row]:
    return [row for n in range(num) for row in make(f"f{n}.", 1.0 + n, (1.0 + n) * ratio)]


@pytest.mark.parametrize(
    ("num_families", "ratio", "is_found"),
    [(3, 1.0, False), (4, 1.0, True), (5, 1.0, True), (4, 1.002, True), (4, 1.004, False), (4, 0.9, True)],
)
def test_kernels_without_effect(num_families: int, ratio: float, is_found: bool) -> None:
    own = table(*families_of(num_families, ratio))
    found = checks.kernel_effect(own, [])
    assert named(found) == ({row.name for row in own.rows} if is_found else set())
    if is_found:
        assert f"the median change is {100 * (ratio - 1):+.2f} %" in found[0].message


@pytest.mark.parametrize(("wider", "is_found"), [(None, False), (1.2, False), (1.25, True), (1.3, True)])
def test_predictions_bound_by_launches_show_no_effect_of_the_width_either(
    wider: float | None, is_found: bool
) -> None:
    rows = families_of(4, 1.0) + ([] if wider is None else families_of(1, wider, widths))
    found = checks.kernel_effect(table(*rows, is_prediction=True), [])
    assert bool(found) == is_found


def test_an_effect_is_that_of_the_largest_choice_and_rows_without_a_family_have_none() -> None:
    rows = [row for n in range(4) for row in kernels(f"f{n}.", 1.0, 5.0, 1.0)]
    assert named(checks.kernel_effect(table(*rows, *timed(3.0).rows), [])) == {row.name for row in rows}
    alone = [row for n in range(4) for row in kernels(f"f{n}.", 1.0)]
    assert checks.kernel_effect(table(*alone), []) == []


@pytest.mark.parametrize("make", [kernels, widths])
@pytest.mark.parametrize(
    ("is_prediction", "time", "is_bad"),
    [(False, 0.75, False), (False, 0.74, True), (True, 0.89, False), (True, 0.87, True)],
)
def test_more_work_in_less_time(
    make: Callable[..., list[Row]], is_prediction: bool, time: float, is_bad: bool
) -> None:
    own = table(*make("f", 1.0, time), is_prediction=is_prediction)
    found = checks.monotone(own, [])
    assert named(found) == ({"f2"} if is_bad else set())
    if is_bad:
        assert f"more than {12 if is_prediction else 25} % below" in found[0].message


def test_a_drop_is_from_the_next_smaller_one() -> None:
    assert checks.monotone(table(*kernels("f", 1.0, 0.8, 0.65)), []) == []
    shuffled = kernels("f", 1.0, 2.0, 0.9)[::-1]
    assert named(checks.monotone(table(*shuffled), [])) == {"f3"}


def test_the_growth_of_kernels_at_the_median_of_four_families() -> None:
    """A kernel of side 2 has four times the area of one of side 1: at most half of that growth, 2.5 times."""
    assert checks.growth(table(*families_of(4, 2.4)), []) == []
    (found,) = checks.growth(table(*families_of(4, 2.8)), [])
    assert found.message.startswith("8 of 8 rows: kernel sizes matter too much: 60%")
    assert checks.growth(table(*families_of(3, 2.8)), []) == []
    three = [row for n in range(4) for row in kernels(f"f{n}.", 1.0, 1.0, 6.0)]
    (found,) = checks.growth(table(*three), [])  # five of the eight times that its area grows
    assert found.message.startswith("12 of 12 rows: kernel sizes matter too much: 62%")


@pytest.mark.parametrize(
    ("rows", "bad"),
    [
        (kernels("f", 1.0, 3.9), set()),
        (kernels("f", 1.0, 4.1), {"f2"}),
        # Beyond every smaller one: nine times the area of the first, 9 / 4 that of the second.
        (kernels("f", 1.0, 4.1, 8.9), {"f2"}),
        (kernels("f", 4.1, 1.0, 9.1), set()),
        # A wider block takes at most one and a half times what its work says.
        (widths("f", 1.0, 2.9), set()),
        (widths("f", 1.0, 3.1), {"f2"}),
        (widths("f", 1.0, 3.0), set()),
        (widths("f", 1.0, 2.0, 4.6), {"f3"}),
        (widths("f", 1.0, 3.1, macs=0.0), set()),
    ],
)
def test_single_rows_that_grow_too_much(rows: list[Row], bad: set[str]) -> None:
    assert named(checks.growth(table(*rows), [])) == bad


def working(macs: float, time: float, name: str = "odd", *, is_whole: bool = False) -> Row:
    return Row(name=name, time_ms=time, macs=macs, is_whole=is_whole)


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize(
    ("macs", "time", "is_odd"),
    [
        (299.9e6, 1.0, False),
        (300.1e6, 1.0, True),
        (1e6, 299.9, False),
        (1e6, 300.1, True),
        (30e6, 30.0, False),
        (1e6 / 301, 1.0, False),  # little work in the usual time: an overhead
        (0.0, 1e6, False),  # of unknown work
        (1e6, -5.0, False),
    ],
)
def test_rows_hundreds_of_times_off(macs: float, time: float, is_odd: bool, is_whole: bool) -> None:
    usual = [working(1e6, 1.0, f"usual{n}", is_whole=is_whole) for n in range(5)]
    other_kind = working(1e9, 1.0, "other kind", is_whole=not is_whole)
    odd = working(macs, time, is_whole=is_whole)
    found = checks.units(table(*usual, odd, other_kind), [])
    assert named(found) == ({"odd"} if is_odd else set())


@pytest.mark.parametrize(
    ("macs", "time", "peak", "is_whole", "is_found"),
    [
        (5.1e4, 1.0, None, False, False),
        (5.0e4, 1.0, None, False, False),
        (4.99995e4, 1.0, None, False, True),
        (4.9e4, 1.0, None, False, True),
        # At half a percent of 1 TFLOP/s 10^9 MACs take 400 ms, besides 300 for a network and 3 for a block.
        (1e9, 699.5, 1.0, True, False),
        (1e9, 700.5, 1.0, True, True),
        (1e9, 402.5, 1.0, False, False),
        (1e9, 403.5, 1.0, False, True),
        (1e9, 710.0, None, True, False),
    ],
)
def test_whole_tables_that_are_too_slow(
    macs: float, time: float, peak: float | None, is_whole: bool, is_found: bool
) -> None:
    rows = [working(macs, time, f"r{n}", is_whole=is_whole) for n in range(3)]
    found = checks.units(table(*rows, peak=Peak(fp32_tflops=peak)), [])
    assert named(found) == ({"r0", "r1", "r2"} if is_found else set())
    if macs == 4.9e4:
        assert "49 MMAC/s at the median" in found[0].message


PEAKS = Peak(fp32_tflops=4.0, fp16_tflops=16.0, int8_tops=64.0)


@pytest.mark.parametrize(
    ("peak", "facts", "limit", "source"),
    [
        (PEAKS, {"precision": "fp32"}, 4.0, "the chip's peak"),
        (PEAKS, {"precision": "fp32", "has_tf32": True}, 8.0, "the chip's peak"),
        (Peak(fp32_tflops=4.0), {"precision": "fp32", "has_tf32": True}, 4.0, "the chip's peak"),
        (
            Peak(fp32_tflops=9.0, fp16_tflops=16.0),
            {"precision": "fp32", "has_tf32": True},
            9.0,
            "the chip's peak",
        ),
        (Peak(fp32_tflops=0.25), {"precision": "fp32", "has_tf32": True}, 0.25, "the chip's peak"),
        (Peak(fp16_tflops=16.0), {"precision": "fp32", "has_tf32": True}, 8.0, "the chip's peak"),
        (Peak(fp16_tflops=16.0), {"precision": "fp32"}, 16.0, "the chip's highest peak"),
        (PEAKS, {"precision": "fp16", "has_tf32": True}, 16.0, "the chip's peak"),
        (PEAKS, {"precision": "tf32"}, 16.0, "the chip's peak"),
        (PEAKS, {"precision": "bf16"}, 16.0, "the chip's peak"),
        (PEAKS, {"precision": "int8"}, 64.0, "the chip's peak"),
        (PEAKS, {}, 64.0, "the chip's highest peak"),
        (Peak(fp32_tflops=4.0), {"precision": "int8"}, 4.0, "the chip's highest peak"),
        (Peak(), {"kind": "cpu"}, 20.0, "more than any such device has"),
        (Peak(), {"kind": "phone"}, 10.0, "more than any such device has"),
        (Peak(), {"kind": "embedded-gpu"}, 300.0, "more than any such device has"),
        (Peak(), {"kind": "gpu"}, 3000.0, "more than any such device has"),
        (Peak(), {}, 3000.0, "more than any such device has"),
        (
            Peak(),
            {"kind": "npu", "has_tf32": True, "precision": "fp32"},
            3000.0,
            "more than any such device has",
        ),
    ],
)
def test_nothing_is_faster_than_the_chip(
    peak: Peak, facts: dict[str, object], limit: float, source: str
) -> None:
    """Two operations a MAC: 10^9 MACs in one ms are 2 TFLOP/s."""
    at_limit, beyond = working(limit * 5e8, 1.0, "at"), working(limit * 5.0001e8, 1.0, "beyond")
    (found,) = checks.throughput(table(at_limit, beyond, working(1e12, -1.0), peak=peak, **facts), [])
    assert found.rows == ("beyond",)
    assert f"throughput beyond {limit:.3g} TFLOP/s, {source}" in found.message


@pytest.mark.parametrize(("num_runs", "is_few"), [(None, False), (0, True), (9, True), (10, False)])
def test_few_repeats(num_runs: int | None, is_few: bool) -> None:
    row = Row(name="r", time_ms=1.0, num_runs=num_runs)
    assert named(checks.repeats(table(row), [])) == ({"r"} if is_few else set())


def test_rows_for_copies_are_looked_at_for_copies_only() -> None:
    own = timed(*[1.23456 * (n + 1) for n in range(7)], -1.0)
    copies = dataclasses.replace(own, is_for_copies=True)
    assert {found.check for found in checks.audit(own, [own])} == {"positive", "identical"}
    assert {found.check for found in checks.audit(copies, [own])} == {"identical"}

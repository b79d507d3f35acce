"""Where each check of the audit begins to find fault, by rows whose figures are worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ofa_toolkit.latency.audit import checks
from ofa_toolkit.latency.audit.files import file_rows, measured_rows
from ofa_toolkit.latency.audit.rows import (
    AuditTable,
    Row,
    entry_rows,
    network_macs,
    signature_macs,
    table_rows,
)
from ofa_toolkit.latency.audit.smoothness import odd_rows
from ofa_toolkit.latency.device import Peak
from ofa_toolkit.latency.importing.measurements import (
    Conditions,
    MeasuredNetwork,
    NetworkMeasurements,
    UnitMeasurements,
)
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.table import LatencyTable
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.layer_spec import LayerSpec
from tests.unit.export.samples import device

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
        ([0.0, -1.0, NAN, INF, -2.0, -3.0, -4.0], [0.0, -1.0, NAN, INF, -2.0, -3.0, -4.0], set()),
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


def families_of(num: int, ratio: float, make: Callable[..., list[Row]] = kernels) -> list[Row]:
    return [row for n in range(num) for row in make(f"f{n}.", 1.0 + n, (1.0 + n) * ratio)]


@pytest.mark.parametrize(
    ("num_families", "ratio", "is_found"),
    [(3, 1.0, False), (4, 1.0, True), (4, 1.002, True), (4, 1.004, False)],
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
    [(False, 0.76, False), (False, 0.74, True), (True, 0.89, False), (True, 0.87, True)],
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
        (299e6, 1.0, False),
        (301e6, 1.0, True),
        (1e6, 299.0, False),
        (1e6, 301.0, True),
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
        (4.9e4, 1.0, None, False, True),
        # At half a percent of 1 TFLOP/s 10^9 MACs take 400 ms, besides 300 for a network and 3 for a block.
        (1e9, 690.0, 1.0, True, False),
        (1e9, 710.0, 1.0, True, True),
        (1e9, 402.0, 1.0, False, False),
        (1e9, 404.0, 1.0, False, True),
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
    at_limit, beyond = working(limit * 5e8, 1.0, "at"), working(limit * 5.01e8, 1.0, "beyond")
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


def blocks(**changed: float) -> AuditTable:
    """Three kernels by three widths: a factor for each, and changed rows by name as logarithms."""
    rows = [
        Row(
            name=f"k{kernel}w{width}",
            time_ms=0.1 * kernel * width * math.exp(changed.get(f"k{kernel}w{width}", 0.0)),
            kernel_family=f"w{width}",
            kernel_size=kernel,
            width_family="16x8 24x8 k1-3-1 relu 2".replace("3", str(kernel)),
            width=width,
        )
        for kernel in (3, 5, 7)
        for width in (3, 4, 6)
    ]
    return table(*rows)


@pytest.mark.parametrize(("far", "odd"), [(0.24, []), (0.26, ["k5w4"]), (-0.26, ["k5w4"])])
def test_blocks_far_from_their_neighbours(far: float, odd: list[str]) -> None:
    assert odd_rows(blocks(k5w4=far)) == odd
    assert named(checks.smooth(blocks(k5w4=far), [])) == set(odd)
    assert checks.smooth(dataclasses.replace(blocks(k5w4=far), is_prediction=True), []) == []


def test_single_rows_and_columns_of_blocks_tell_nothing() -> None:
    whole = blocks(k5w4=2.0).rows
    for kept in (
        [row for row in whole if row.kernel_size == 5],
        [row for row in whole if row.width == 4],
        [dataclasses.replace(row, kernel_family="") for row in whole],
        [dataclasses.replace(row, width_family="") for row in whole],
        [dataclasses.replace(row, time_ms=-1.0) if row.name == "k5w4" else row for row in whole],
        [dataclasses.replace(row, time_ms=INF) if row.name == "k5w4" else row for row in whole],
    ):
        assert odd_rows(table(*kept)) == []
    # Of two kernels one is off, and nothing tells which: each gets half of it.
    two_kernels = [row for row in whole if row.kernel_size != 7]
    assert odd_rows(table(*two_kernels)) == ["k3w4", "k5w4"]
    # By two widths, all four get as much.
    assert odd_rows(table(*(row for row in two_kernels if row.width != 6))) == []


def networks(*far: float, power: float = 0.5, work: float = 2.0) -> AuditTable:
    """Networks that take a power of their work, off by these logarithms."""
    return table(
        *(
            Row(
                name=f"n{number}",
                time_ms=7 * (1e6 * work**number) ** power * math.exp(log),
                macs=1e6 * work**number,
                is_whole=True,
            )
            for number, log in enumerate(far)
        )
    )


@pytest.mark.parametrize(
    ("far", "odd"),
    [
        ([0, 0, 0, 0.5, 0, 0, 0], []),  # seven are too few
        ([0, 0, 0, 0.4, 0, 0, 0, 0], ["n3"]),
        ([0, 0, 0, -0.4, 0, 0, 0, 0], ["n3"]),
        ([0, 0, 0, 0.33, 0, 0, 0, 0], []),
    ],
)
def test_networks_far_from_a_power_of_their_work(far: list[float], odd: list[str]) -> None:
    assert odd_rows(networks(*far)) == odd
    assert odd_rows(table(*(dataclasses.replace(row, is_whole=False) for row in networks(*far).rows))) == []
    assert odd_rows(table(*(dataclasses.replace(row, macs=0.0) for row in networks(*far).rows))) == []


@pytest.mark.parametrize(("far", "odd"), [(0.55, []), (0.70, ["n9"])])
def test_far_is_eight_typical_deviations(far: float, odd: list[str]) -> None:
    """Ten networks of equal work around 0.05: a median deviation of 0.05, so 8 x 1.4826 x 0.05 = 0.593."""
    assert odd_rows(networks(*[-0.05] * 4, *[0.05] * 5, far, work=1.0)) == odd


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        ("conv 3x32 16x16 k5 s2 h_swish <^0>", 25 * 3 * 16 * 16**2),
        ("conv 3x32 16x16 k3 s2 h_swish <^0>", 9 * 3 * 16 * 16**2 / 2.25),  # Winograd
        ("conv 16x8 16x8 k3 g16 relu <^0>", 9 * 16 * 8**2),
        ("conv 16x8 16x4 k5 s2 p1 g4 relu <^0>", 25 * 4 * 16 * 4**2),
        ("conv 8x4 16x4 k1 <^0>", 8 * 16 * 4**2),
        ("linear 10x1 7x1 <^0>", 10 * 7),
        ("linear 10x4 7x4 <^0>", 10 * 7),
        ("add 16x8 16x8 <^0,-1>", 0),
        ("conv 8x4 16x4 k1 relu <^0>; conv 16x4 16x4 k5 g16 relu <-1>", 8 * 16 * 16 + 25 * 16 * 16),
    ],
)
def test_macs_of_signatures(text: str, macs: float) -> None:
    assert signature_macs(text) == pytest.approx(macs, rel=1e-12)
    (row,) = entry_rows({text: 0.5}, 4)
    assert (row.name, row.time_ms, row.macs) == (text, 0.5, pytest.approx(4 * macs, rel=1e-12))


def block(middle: int, kernel: int, *, out: int = 24, squeeze: int = 0, activation: str = "relu") -> str:
    branch = (
        f"global_avg_pool {middle}x8 {middle}x1 <-1>; conv {middle}x1 {squeeze}x1 k1 relu <-1>; "
        f"conv {squeeze}x1 {middle}x1 k1 h_sigmoid <-1>; scale {middle}x8 {middle}x8 <-4,-1>; "
    )
    return (
        f"conv 16x8 {middle}x8 k1 {activation} <^0>; "
        f"conv {middle}x8 {middle}x8 k{kernel} g{middle} {activation} <-1>; "
        f"{branch if squeeze else ''}conv {middle}x8 {out}x8 k1 <-1>"
    )


def test_families_of_blocks_by_their_signatures() -> None:
    texts = [
        block(48, 3),
        block(48, 5),
        block(64, 3),
        block(64, 3, out=32),
        block(64, 3, activation="h_swish"),
    ]
    three, five, wide, other_end, other = entry_rows(dict.fromkeys(texts, 1.0), 1)
    assert [row.kernel_size for row in (three, five, wide)] == [3, 5, 3]
    assert [row.width for row in (three, five, wide)] == [48, 48, 64]
    assert three.kernel_family == five.kernel_family != wide.kernel_family
    assert three.width_family == wide.width_family != five.width_family
    assert len({wide.width_family, other_end.width_family, other.width_family}) == 3
    squeezed = entry_rows({block(48, 3, squeeze=12): 1.0, block(64, 3, squeeze=16): 1.0}, 1)
    assert squeezed[0].width_family == squeezed[1].width_family != three.width_family
    for text in ("conv 8x4 16x4 k1 <^0>", "conv 3x32 16x16 k5 s2 relu <^0>", "conv 8x4 8x4 k1 g8 <^0>"):
        (row,) = entry_rows({text: 1.0}, 1)
        assert row.kernel_family == row.width_family == ""
    (alone,) = entry_rows({"conv 8x4 8x4 k5 g8 <^0>": 1.0}, 1)
    assert (alone.kernel_size, alone.width_family) == (5, "")
    assert alone.kernel_family == "conv 8x4 8x4 k* g8 <^0>"


def test_macs_of_networks_count_what_winograd_leaves() -> None:
    def conv(kernel: int, groups: int) -> LayerSpec:
        shape = {"in_channels": 4, "out_channels": 4, "in_size": 8, "out_size": 8}
        return LayerSpec(name="x", kind="conv", inputs=("input",), kernel_size=kernel, groups=groups, **shape)

    plain = {3: 9 * 16 * 64, 5: 25 * 16 * 64}
    assert network_macs([conv(3, 1)]) == plain[3] / 2.25
    assert network_macs([conv(3, 4), conv(5, 1)]) == plain[3] / 4 + plain[5]


@pytest.mark.parametrize(
    ("capability", "has_tf32"), [(None, False), ("7.5", False), ("8.0", True), ("8.7", True)]
)
def test_frameworks_use_tf32_from_ampere_on(capability: str | None, has_tf32: bool) -> None:
    made = device("board", tensorrt="8.2.1", capability=capability)
    content = TableContent(predictors=(EntryPredictor(times_ms={"linear 10x1 7x1 <^0>": 0.5}),))
    variant = dataclasses.replace(made.variants[0], batch_size=3, name="made-up-fp32-3")
    (found,) = table_rows(LatencyTable(device=made, variant=variant, content=content))
    assert (found.has_tf32, found.precision, found.kind) == (has_tf32, "fp32", "embedded-gpu")
    assert (found.is_prediction, found.is_for_copies, found.shared_fit) == (False, False, None)
    assert [(row.time_ms, row.macs) for row in found.rows] == [(0.5, 210)]


# Keys of the once-for-all repositories: `expand` is a ratio up to ten, else the number of middle channels.
KEYED = {
    "Conv-input:224x224x3-output:112x112x24": (9 * 3 * 24 * 112**2 / 2.25, 0, 0),
    "Conv_1-input:7x7x192-output:7x7x1152": (192 * 1152 * 49, 0, 0),
    "Conv_2-input:1x1x1152-output:1x1x1536": (1152 * 1536, 0, 0),
    "AvgPool2D-input:7x7x1152-output:1x1x1152": (0, 0, 0),
    "Logits-input:1x1x1536-output:1000": (1536 * 1000, 0, 0),
    "expanded_conv-input:8x8x16-output:4x4x24-expand:6-kernel:5-stride:2-idskip:0": (
        *(16 * 96 * 64 + 25 * 96 * 16 + 96 * 24 * 16, 5, 96),
    ),
    "expanded_conv-input:8x8x16-output:8x8x24-expand:10-kernel:3-stride:1-idskip:0": (
        *(16 * 160 * 64 + 9 * 160 * 64 + 160 * 24 * 64, 3, 160),
    ),
    "expanded_conv-input:8x8x16-output:8x8x24-expand:11-kernel:3-stride:1-idskip:0-se:1-hs:0": (
        *(16 * 11 * 64 + 9 * 11 * 64 + 11 * 24 * 64, 3, 11),
    ),
    "what ever": (0, 0, 0),
}


def test_work_behind_the_keys_of_block_tables(tmp_path: Path) -> None:
    path = tmp_path / "224_lookup_table.yaml"
    path.write_text(yaml.safe_dump({key: {"mean": 0.5, "std": 0.0, "count": 7} for key in KEYED}))
    (found,) = file_rows(path, None)
    assert found.name == str(path)
    assert {row.name: (row.macs, row.kernel_size, row.width) for row in found.rows} == KEYED
    assert {(row.time_ms, row.num_runs) for row in found.rows} == {(0.5, 7)}
    six = next(row for row in found.rows if "expand:6" in row.name)
    assert six.kernel_family == six.name.replace("kernel:5", "kernel:*")
    assert six.width_family == six.name.replace("expand:6", "expand:*")
    path.write_text(yaml.safe_dump({size: {"Logits-input:1x1x9-output:10": "fast"} for size in (160, 224)}))
    tables = file_rows(path, None, kind="ofa-yaml")
    assert [each.name for each in tables] == [f"{path}:160", f"{path}:224"]
    assert math.isnan(tables[0].rows[0].time_ms)
    assert tables[0].rows[0].num_runs is None


def test_work_behind_the_rows_of_a_sheet(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "resolution,d,ks,e,latency_ms,batch_size,num_runs\n32,1,3,3,2.5,8,40\n32,1,3,3,fast,,many\n"
    )
    space = get_space("mobilenet-v3-compact")
    (found,) = file_rows(path, space, 3)
    first, second = found.rows
    assert first.macs == pytest.approx(8 / 3 * second.macs)
    assert (first.time_ms, first.num_runs, first.is_whole) == (2.5, 40, True)
    assert first.name.startswith("line 2: 32 px, ")
    assert math.isnan(second.time_ms)
    assert second.num_runs is None
    assert first.cell.startswith("mobilenet-v3-compact, batch 8: ")
    (blind,) = file_rows(path, None)
    assert [(row.name, row.macs, row.cell) for row in blind.rows] == [("line 2", 0, ""), ("line 3", 0, "")]


def test_rows_of_what_a_reader_made() -> None:
    space = get_space("mobilenet-v3-compact")
    conditions = Conditions()
    networks = (MeasuredNetwork(subnet=space.smallest(), latency_ms=2.5, num_runs=9),) * 2
    one, two = (
        measured_rows("x", NetworkMeasurements(space=space, networks=networks, conditions=conditions), batch)
        for batch in (1, 2)
    )
    assert [row.name for row in one.rows] == ["network 1", "network 2"]
    assert two.rows[0].macs == 2 * one.rows[0].macs > 0
    assert (one.rows[0].time_ms, one.rows[0].num_runs, one.rows[0].is_whole) == (2.5, 9, True)
    times = {"linear 10x1 7x1 <^0>": 0.5}
    units = UnitMeasurements(space=space, times_ms=times, num_missing=0, conditions=conditions)
    assert [row.macs for row in measured_rows("x", units, 2).rows] == [140]

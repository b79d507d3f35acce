"""Rows far from their neighbours, and the work behind each row, by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.latency.audit import checks, files
from ofa_toolkit.latency.audit.files import file_rows, measured_rows
from ofa_toolkit.latency.audit.rows import (
    AuditTable,
    Row,
    entry_rows,
    network_macs,
    signature_macs,
    table_rows,
)
from ofa_toolkit.latency.audit.smoothness import _network_residuals, odd_rows
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.importing.measurements import (
    Conditions,
    MeasuredNetwork,
    NetworkMeasurements,
    UnitMeasurements,
)
from ofa_toolkit.latency.importing.ofa_yaml import ofa_keys
from ofa_toolkit.latency.measuring.measured_table import unit_items
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.latency.table import LatencyTable
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import SearchSpace, get_space, lower
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.official_architectures import from_official
from tests.unit.export.samples import device
from tests.unit.latency.test_predictor_figures import space_table
from tests.unit.latency.test_table_choices import Bound, Constant, table_of

INF = float("inf")


def table(*rows: Row, is_prediction: bool = False) -> AuditTable:
    return AuditTable(name="own", rows=rows, is_prediction=is_prediction)


def named(found: list[checks.AuditFinding]) -> set[str]:
    return {row for finding in found for row in finding.rows}


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
        *(
            [dataclasses.replace(row, time_ms=time) if row.name == "k5w4" else row for row in whole]
            for time in (-1.0, -0.5, 0.0, INF)
        ),
    ):
        assert odd_rows(table(*kept)) == []
    # Of two kernels one is off, and nothing tells which: each gets half of it.
    two_kernels = [row for row in whole if row.kernel_size != 7]
    assert odd_rows(table(*two_kernels)) == ["k3w4", "k5w4"]
    # By two widths, all four get as much.
    assert odd_rows(table(*(row for row in two_kernels if row.width != 6))) == []


def test_how_far_blocks_usually_are_is_told_by_those_with_two_kernels_and_two_widths() -> None:
    """One of four off by 0.2 puts each of the four 0.05 off: 8 x 1.4826 x 0.05 = 0.593 is allowed then."""

    def alike(count: int, *kept: str) -> list[Row]:
        rows = [row for row in blocks(k5w4=0.2).rows if row.name in kept]
        return [
            dataclasses.replace(row, width_family=f"{row.width_family} {number} of {kept}")
            for number in range(count)
            for row in rows
        ]

    rows = [*blocks(k5w4=0.55).rows, *alike(5, "k3w3", "k3w4", "k5w3", "k5w4")]
    assert odd_rows(table(*rows)) == []
    assert odd_rows(table(*rows, *alike(20, "k3w3", "k3w4"), *alike(20, "k3w3", "k5w3"))) == []
    assert odd_rows(table(*rows[:9])) == ["k5w4"]


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


def test_the_power_of_the_work_is_the_median_of_all_pairs() -> None:
    """Slopes between logarithms (4, 3), (2, 3), (1, 0), (3, 3): 0, 1, 0, 3, 0 and 1.5: 0.5, then 1.25."""
    rows = [
        Row(name="n", time_ms=math.exp(time), macs=math.exp(work))
        for work, time in ((4, 3), (2, 3), (1, 0), (3, 3))
    ]
    left = [far for _, far in _network_residuals(rows)]
    assert left == pytest.approx([-0.25, 0.75, -1.75, 0.25])


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
    texts = ["conv 8x4 8x4 k5 g8 <^0>; conv 8x4 6x4 k1 <-1>", "linear 10x1 7x1 <^0>", "add 4x8 4x8 <^0,^1>"]
    two, dense, add = entry_rows(dict.fromkeys(texts, 1.0), 1)
    assert two.width_family != ""
    assert [(row.kernel_size, row.width) for row in (two, dense, add)] == [(5, 8), (0, 7), (0, 0)]
    (whole,) = entry_rows({"conv 8x4 8x4 k5 <^0>; conv 8x4 8x4 k5 <-1>; conv 8x4 6x4 k1 <-1>": 1.0}, 1)
    assert (whole.kernel_size, whole.width_family) == (0, "")


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
    (alone,) = file_rows(path, space)
    assert alone.rows[1].macs == pytest.approx(second.macs / 3)
    assert (first.time_ms, first.num_runs, first.is_whole) == (2.5, 40, True)
    layers = lower(space, from_official(space, {"r": 32, "d": 1, "ks": 3, "e": 3}))
    assert first.name == f"line 2: 32 px, {count_macs(layers) / 1e6:.1f} MMACs"
    assert math.isnan(second.time_ms)
    assert second.num_runs is None
    assert first.cell.startswith("mobilenet-v3-compact, batch 8: ")
    path.write_text("resolution,d,latency_ms\n32,1,2.5\n")
    with pytest.raises(FileFormatError, match=r"rows\.csv', line 2: An architecture needs the key 'ks'\.$"):
        file_rows(path, space)


def test_rows_of_a_sheet_whose_subnets_nobody_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("resolution,latency_ms\n32,2.5\n32,fast\n")
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


class OfSmallImages(Constant):
    def bind(self, space: SearchSpace) -> Bound:
        bound = Bound(self.ms, 1.0, (), None)
        assert space.resolutions == (160, 224)
        bound.predict = lambda rows: np.where(rows[:, 0] == 0, self.ms, np.nan)  # type: ignore[method-assign]
        return bound


def test_predictions_are_rows_of_subnets_that_differ_in_one_choice() -> None:
    """Twelve random ones, each with three kernel sizes and three ratios everywhere."""
    (found,) = table_rows(table_of(Constant(4.0)))
    assert (found.is_prediction, found.is_for_copies, len(found.rows)) == (True, False, 12 * 6)
    by_kernel = [row for row in found.rows if row.kernel_family]
    by_width = [row for row in found.rows if row.width_family]
    assert [row.kernel_size for row in by_kernel] == [3, 5, 7] * 12
    assert [row.width for row in by_width] == [3, 4, 6] * 12
    for rows in (by_kernel, by_width):
        work = np.array([row.macs for row in rows]).reshape(12, 3)
        assert (np.diff(work, axis=1) > 0).all()
        assert len({row.kernel_family + row.width_family for row in rows}) == 12
    assert {(row.time_ms, row.is_whole) for row in found.rows} == {(4.0, True)}
    sizes = {row.name.split(", ")[1].rpartition(" at ")[2] for row in found.rows}
    assert sizes == {"160", "224"}
    (double,) = table_rows(table_of(Constant(4.0), name="made-up-fp32-2", batch_size=2))
    assert double.rows[0].macs == 2 * found.rows[0].macs
    (small,) = table_rows(table_of(OfSmallImages(4.0)))
    assert small.rows == tuple(row for row in found.rows if " at 160, " in row.name)
    for table in (table_of(Constant(4.0, share=None)), table_of(Constant(4.0, share=0.0))):
        assert table_rows(table) == []
    assert table_rows(table_of(Constant(4.0)), has_predictions=False) == []


@pytest.mark.parametrize("head", ["sum", "max"])
def test_stored_units_of_one_sum_serve_to_find_copies(head: str) -> None:
    table = table_of(space_table(head=head))
    stored = table_rows(table, has_predictions=False)
    assert [(each.is_for_copies, len(each.rows)) for each in stored] == [(True, 32)] * (head == "sum")
    assert {row.time_ms for each in stored for row in each.rows} <= {1.0}
    *_, predicted = table_rows(table)
    assert (predicted.is_prediction, {row.is_whole for row in predicted.rows}) == (True, {True})
    few = Error(kind="families", mape_percent=4.0, num_networks=2, split="s", within_percent=(-9.0, 9.0))
    fitted = table_of(space_table(), provenance="fitted", errors=(few,), source="somebody")
    assert {each.shared_fit for each in table_rows(fitted)} == {"somebody"}


def test_keys_add_up_to_units_whose_every_operation_has_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ofa-mobilenet-v3-w1.2"
    monkeypatch.setattr(files, "list_spaces", lambda: [name])
    items = {
        item.layers[0].name.partition(".")[0]: item
        for item in unit_items(get_space(name).with_resolutions((224,)))
    }
    stem, head = ([spellings[0] for spellings in ofa_keys(items[unit].layers)] for unit in ("stem", "head"))
    assert len(stem) == 2
    rows = [
        Row(name=key, time_ms=ms)
        for key, ms in zip((*stem, *head[:-1]), (1.0, 0.5, 9.0, 9.0, 9.0), strict=True)
    ]
    found, used = files.unit_rows(AuditTable(name="phone", rows=tuple(rows)))
    signature = unit_signature(items["stem"].layers)
    assert [(row.name, row.time_ms) for row in found.rows] == [(signature, 1.5)]
    assert found.rows[0].macs == signature_macs(signature)
    assert used == {signature: tuple(stem)}
    assert (found.name, found.is_for_copies) == ("phone", True)

"""What each reader makes of a file, by files written out by hand, and what lies at the edge of a fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ofa_toolkit.core.errors import FileFormatError, LatencyTableError
from ofa_toolkit.latency.device import Variant
from ofa_toolkit.latency.filing import device_folder, file_variant, today
from ofa_toolkit.latency.importing.block_file import BlockTime, is_block_table, read_blocks
from ofa_toolkit.latency.importing.detection import detect_format
from ofa_toolkit.latency.importing.measurements import Conditions, ImportContext, positive_number
from ofa_toolkit.latency.importing.networks_csv import read_csv
from ofa_toolkit.latency.importing.ofa_yaml import block_files, ofa_keys, read_ofa_tables
from ofa_toolkit.latency.importing.sheet import LATENCY, read_sheet
from ofa_toolkit.latency.importing.trtexec import is_profile, is_times, read_profiles, read_times
from ofa_toolkit.latency.importing.trtexec_log import is_log, read_logs
from ofa_toolkit.latency.importing.variant import (
    Derivation,
    Origin,
    check_conditions,
    imported_device,
    variant_name,
)
from ofa_toolkit.latency.kit.probes import choose_probes
from ofa_toolkit.latency.measuring.measured_table import unit_items
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import unit_of

SPACE = get_space("mobilenet-v3-compact")
SUBNETS = (SPACE.smallest(), SPACE.largest())
CONTEXT = ImportContext(space=SPACE, subnets=SUBNETS[:1])


def test_conditions_complete_each_other_and_must_not_differ() -> None:
    file = Conditions(runtime="tensorrt", batch_size=1)
    assert file.completed(Conditions(precision="fp16", batch_size=1)) == Conditions(
        runtime="tensorrt", batch_size=1, precision="fp16"
    )
    with pytest.raises(FileFormatError, match="say batch_size = 1; the options say 2") as caught:
        file.completed(Conditions(batch_size=2))
    assert caught.value.hint == "Leave out --batch-size."
    assert (file.kind, Conditions(runtime="tflite").kind, Conditions().kind) == ("gpu", "cpu", "cpu")


@pytest.mark.parametrize("value", ["fast", None, 0, -1, "-0.5", float("inf"), float("nan")])
def test_times_that_are_none(value: Any) -> None:
    with pytest.raises(FileFormatError, match=r"here: .* is not a"):
        positive_number(value, "here")
    assert positive_number("2.5", "here") == 2.5


def test_exported_times_are_a_median_and_a_spread(tmp_path: Path) -> None:
    """Runs before 200 ms warm up; quartiles of 1 to 5 are 2 and 4."""
    runs = [{"computeMs": 99.0, "startComputeMs": 199.0}, {"computeMs": 5.0, "startComputeMs": 200.0}]
    runs += [{"computeMs": float(ms), "startComputeMs": 300.0} for ms in (1, 4, 2, 3)]
    path = tmp_path / "times.json"
    path.write_text(json.dumps(runs))
    (found,) = read_times([path], CONTEXT).networks
    assert (found.latency_ms, found.spread, found.num_runs) == (3.0, pytest.approx(2 / 3), 5)
    path.write_text(json.dumps([{"a": 1}]))
    with pytest.raises(FileFormatError, match="holds no 'computeMs'"):
        read_times([path], CONTEXT)
    for text in ("{}", "[1]"):
        path.write_text(text)
        with pytest.raises(FileFormatError, match="holds no list of objects"):
            read_times([path], CONTEXT)


@pytest.mark.parametrize(
    ("document", "is_a_profile", "are_times"),
    [
        ([{"count": 1}, {"averageMs": 1.0}], True, False),
        ([{"count": 1}, {"name": "x"}], False, False),
        ([{"name": "x"}, {"averageMs": 1.0}], False, False),
        ([{"averageMs": 1.0}, {"count": 1}], False, False),
        ([{"count": 1}], False, False),
        ([{"count": 1}, 3], False, False),
        ([{"computeMs": 1.0}], False, True),
        ([3, {"computeMs": 1.0}], False, True),
        ([], False, False),
        ({"computeMs": 1.0, "count": 1}, False, False),
    ],
)
def test_json_of_trtexec_is_known(document: Any, is_a_profile: bool, are_times: bool) -> None:
    assert (is_profile(document), is_times(document)) == (is_a_profile, are_times)


def test_rows_of_a_profile_belong_to_the_layer_they_name_first(tmp_path: Path) -> None:
    layers = lower(SPACE, SUBNETS[0])
    rows: list[dict[str, Any]] = [{"count": 3}]
    rows += [
        {"name": f"[x] {layer.name} + stem.conv", "averageMs": 9.0, "medianMs": 1.0} for layer in layers[1:]
    ]
    rows += [{"name": layers[0].name, "averageMs": 2.0}, {"name": "Reformat", "averageMs": 0.5}]
    path, longer = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text(json.dumps(rows))
    longer.write_text(
        json.dumps([{**row, "medianMs": 3.0} if row.get("name") == "Reformat" else row for row in rows])
    )
    found = read_profiles([path, longer], ImportContext(space=SPACE, subnets=(SUBNETS[0],) * 2))
    stem = [layer for layer in layers if unit_of(layer.name) == "stem"]
    assert found.times_ms[unit_signature(stem)] == pytest.approx(2.0 + len(stem) - 1)
    assert found.bias_ms == pytest.approx(1.75)
    assert sum(found.times_ms.values()) == pytest.approx(len(layers) + 1)
    assert found.num_missing == len(unit_items(SPACE)) - len(found.times_ms)
    assert found.conditions == Conditions(runtime="tensorrt")


def log(*lines: str) -> str:
    summary = "GPU Compute Time: min = 1 ms, max = 9 ms, mean = 4 ms, median = 3.5 ms"
    return "\n".join(["&&&& RUNNING TensorRT.trtexec [TensorRT v8603] #", *lines, f"[I] {summary}", ""])


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        (["[I] Precision: FP32+FP16+INT8"], ("int8", None, None)),
        (["[I] Precision: FP32+FP16"], ("fp16", None, None)),
        (["[I] Precision: FP32+BF16"], ("bf16", None, None)),
        (["[I] Precision: FP32"], ("fp32", None, None)),
        (["[I] Selected Device:  X1 "], (None, None, "X1")),
        (["[I] Input binding for image with dimensions 4x3x32x32 is created."], (None, 4, None)),
        (["[I] Using random values for input image", "input binding for a is 8x3x9x9"], (None, 8, None)),
        (["Input binding for a is 8x3", "Input binding for b is 8x9"], (None, 8, None)),
        (["Input binding for a is 8x3", "Input binding for b is 4x9"], (None, None, None)),
    ],
)
def test_conditions_in_a_log(lines: list[str], facts: tuple[Any, ...], tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text(log(*lines))
    found = read_logs([path], CONTEXT)
    conditions = found.conditions
    assert (conditions.precision, conditions.batch_size, conditions.processor) == facts
    assert (conditions.runtime, conditions.runtime_version) == ("tensorrt", "8.6.3")
    assert [(n.latency_ms, n.num_runs, n.subnet) for n in found.networks] == [(3.5, None, SUBNETS[0])]


def test_what_is_a_log() -> None:
    assert is_log(log())
    assert is_log(log().partition("\n")[2])
    assert is_log(log().partition("\n")[0])
    assert not is_log("median = 3.5 ms")


def test_numbers_beside_the_times_of_a_sheet(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    text = "resolution,d,ks,e,latency_ms,num_runs,spread\n32,1,3,3,2.5,40,0.25\n32,1,3,3,1.5,,\n"
    path.write_text(text)
    first, second = read_csv([path], CONTEXT).networks
    assert (first.num_runs, first.spread, first.latency_ms) == (40, 0.25, 2.5)
    assert (second.num_runs, second.spread) == (None, None)
    for cell in ("3,3,2.5,many,", "3,3,2.5,40,wide", "-,3,2.5,40,0.25", "3,-,2.5,40,0.25"):
        path.write_text(text.replace("3,3,2.5,40,0.25", cell))
        with pytest.raises(FileFormatError, match="line 2: "):
            read_csv([path], CONTEXT)


@pytest.mark.parametrize(
    ("column", "cell", "ms"),
    [
        ("latency_ns", "2500000", 2.5),
        ("time [us]", "2500", 2.5),
        ("latency (µs)", "2500", 2.5),
        ("lat msec", "2.5", 2.5),
        ("latency/ms", "2.5", 2.5),
        ("average_latency_sec", "0.0025", 2.5),
        ("latency", "2500 us", 2.5),
        ("latency", "0.0025s", 2.5),
        ("latency_ms", "2.5ms", 2.5),
        ("latency_us_mean", "2500", 2.5),
    ],
)
def test_units_of_a_latency(column: str, cell: str, ms: float, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"resolution;{column}\n32;{cell}\n")
    ((number, row),) = read_sheet(path).rows
    assert (number, float(row[LATENCY])) == (2, pytest.approx(ms))


def test_quotes_after_a_blank_hold_a_cell_together_and_half_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('resolution, "note, or none", latency_ms\n32, "a, b", 2.5\n')
    sheet = read_sheet(path)
    assert sheet.columns == ("resolution", "note, or none", "latency_ms")
    assert sheet.rows[0][1] == {"resolution": "32", "note_or_none": "a, b", LATENCY: "2.5"}
    path.write_text('resolution,latency_ms\n32,"2"5\n')
    with pytest.raises(FileFormatError, match=r"Cannot read '.*' as CSV"):
        read_sheet(path)


KEY = "Conv-input:224x224x3-output:112x112x24"
BLOCK = "expanded_conv-input:8x8x16-output:4x4x24-expand:6-kernel:5-stride:2-idskip:0"


def test_block_tables_in_every_form(tmp_path: Path) -> None:
    entries = {KEY: {"mean": 1.5, "count": 7}, BLOCK: {"mean": 2.5, "count": "many"}, "x": 3.5}
    blocks = {KEY: BlockTime(mean_ms=1.5, count=7), BLOCK: BlockTime(mean_ms=2.5, count=None)}
    blocks["x"] = BlockTime(mean_ms=3.5, count=None)
    for name, content, sizes in (
        ("160_lookup_table.yaml", yaml.safe_dump(entries), [160]),
        ("a160_lookup_table.yml", yaml.safe_dump(entries), [None]),
        ("blocks.json", json.dumps(entries), [None]),
        ("nested.json", json.dumps({"160": entries, "224": entries}), [160, 224]),
        ("nested.yaml", yaml.safe_dump({160: entries}), [160]),
    ):
        path = tmp_path / name
        path.write_text(content)
        assert read_blocks(path) == dict.fromkeys(sizes, blocks), name
    sheet = tmp_path / "blocks.csv"
    sheet.write_text(f"resolution,key,mean_ms,count\n160,{KEY},1.5,7\n,{BLOCK},2.5,few\n")
    assert read_blocks(sheet) == {
        160: {KEY: BlockTime(mean_ms="1.5", count=7)},
        None: {BLOCK: BlockTime(mean_ms="2.5", count=None)},
    }
    for content, message in (
        ("resolution,key,mean_ms\n160,,1.5\n", "line 2: no 'key' names the block"),
        ("resolution,key,mean_ms\n", "holds no rows"),
    ):
        sheet.write_text(content)
        with pytest.raises(FileFormatError, match=message):
            read_blocks(sheet)
    path = tmp_path / "empty.yaml"
    for content in ("", "[]", "{}", "3"):
        path.write_text(content)
        with pytest.raises(FileFormatError, match="holds no entries"):
            read_blocks(path)


@pytest.mark.parametrize(
    ("document", "is_so"),
    [
        ({KEY: 1.0}, True),
        ({"x": 1.0, BLOCK: 1.0}, True),
        ({"160": {KEY: 1.0}}, True),
        ({"160": {"x": 1.0}, "224": {KEY: 1.0}}, True),
        ({"160": {"x": 1.0}}, False),
        ({"size": {KEY: 1.0}}, False),
        ({"x": 1.0}, False),
        ({}, False),
        ([KEY], False),
    ],
)
def test_what_is_a_block_table(document: Any, is_so: bool) -> None:
    assert is_block_table(document) == is_so


@pytest.mark.parametrize(("middle", "ratio"), [(64, 4), (96, 6), (16, 1), (80, 5), (72, None)])
def test_keys_of_a_block_by_its_middle_and_by_its_ratio(middle: int, ratio: int | None) -> None:
    def conv(name: str, source: str, *shape: int, **facts: Any) -> LayerSpec:
        sizes = dict(zip(("in_channels", "out_channels", "in_size", "out_size"), shape, strict=True))
        return LayerSpec(name=name, kind="conv", inputs=(source,), **sizes, **facts)

    layers = (
        conv("a", "x", 16, middle, 8, 8),
        conv("b", "a", *(middle, middle, 8, 4), kernel_size=5, stride=2, groups=middle, activation="h_swish"),
        conv("c", "b", middle, 24, 4, 4),
    )
    start, end = "expanded_conv-input:8x8x16-output:4x4x24-expand:", "-kernel:5-stride:2-idskip:0"
    by_ratio = [] if ratio is None else [f"{start}{ratio}{end}"]
    assert ofa_keys(layers) == [[f"{start}{middle}{end}-se:0-hs:1", *by_ratio]]


def test_entries_of_few_repeats_are_counted_and_shared_shapes_take_the_median(tmp_path: Path) -> None:
    space = get_space("ofa-mobilenet-v3-w1.0").with_resolutions((216, 224))
    for size, mean, count in ((216, 1.0, 10), (224, 3.0, 9)):
        keys = [
            spellings[0]
            for item in unit_items(space.with_resolutions((size,)))
            for spellings in ofa_keys(item.layers)
        ]
        entries = {key: {"mean": mean, "count": count} for key in keys}
        (tmp_path / f"{size}_lookup_table.yaml").write_text(yaml.safe_dump(entries))
    context = ImportContext(space=space)
    found = read_ofa_tables([tmp_path], context)
    shared = set(found.by_resolution[216]) & set(found.by_resolution[224])
    assert shared
    for signature in shared:
        low, high = (found.by_resolution[size][signature] for size in (216, 224))
        assert (high, found.times_ms[signature]) == (3 * low, 2 * low)
    assert found.num_missing == 0
    assert len(found.caveats) == 2
    assert f"{len(set(keys))} entries" in found.caveats[1]
    one = read_ofa_tables([tmp_path / "216_lookup_table.yaml"], context)
    assert len(one.caveats) == 1
    assert one.num_missing == len(set(found.by_resolution[224]) - shared)
    assert [path.name for path in block_files([tmp_path])] == [
        "216_lookup_table.yaml",
        "224_lookup_table.yaml",
    ]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(FileFormatError, match=r"holds no \*_lookup_table"):
        block_files([tmp_path / "nothing"])


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.jsonl", '{"type": "session"}\n{"typ', "kit"),
        ("a.json", '{"type": "session"}', "kit"),
        ("a.txt", '{"typ\n{"type": "session"}\n', "kit"),
        ("a.txt", "{ not json", "kit"),
        ("a.txt", '[{"latency_ms": 1.0}]', "csv"),
        ("a.txt", '{"latency_ms": 1.0}\n{"latency_ms": 2.0}\n', "csv"),
        ("a.yaml", f"{KEY}: 1.0\n", "ofa-yaml"),
        ("a.txt", f"'{KEY}': 1.0\n", "ofa-yaml"),
        ("a.csv", f"key,mean_ms\n{KEY},1.0\n", "ofa-yaml"),
        ("a.csv", "key,mean_ms\nx,1.0\n", "csv"),
        ("a.csv", "nothing\n", "csv"),
        ("a.TSV", "nothing\n", "csv"),
        ("a.yml", "nothing\n", "ofa-yaml"),
    ],
)
def test_formats_by_a_look_inside(name: str, text: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert detect_format(path) == kind
    assert detect_format(tmp_path) == "ofa-yaml"


FULL = Conditions(runtime="TensorRT", precision="fp16", batch_size=8)


@pytest.mark.parametrize(
    ("source", "power_mode", "name"),
    [
        ("Someone's Lab", None, "someone-s-lab-tensorrt-fp16-8"),
        ("???", None, "unnamed-tensorrt-fp16-8"),
        ("own", "MODE_15W_2CORE", "own-tensorrt-fp16-8-15w-2core"),
        ("own", "MAXN", "own-tensorrt-fp16-8-maxn"),
    ],
)
def test_names_of_imported_variants(source: str, power_mode: str | None, name: str) -> None:
    conditions = FULL.completed(Conditions(power_mode=power_mode, processor="Xavier"))
    assert variant_name(source, conditions) == name
    account = Derivation(provenance="measured", method="m", networks="n", errors=(), caveats=("c",))
    content = TableContent(predictors=(EntryPredictor(times_ms={"stem": 1.0}),))
    made = imported_device("board", conditions, Origin(source=source, licence="MIT"), account, content)
    (variant,) = made.variants
    assert (made.title, made.chip, made.default_variant) == ("Xavier", "Xavier", name)
    assert (variant.clocks, variant.runtime_version, variant.identity) == (
        "unknown",
        "unknown",
        content.identity,
    )
    plain = imported_device("board", FULL, Origin(source=source, licence="MIT"), account, content)
    assert (plain.title, plain.chip) == ("board", "unknown")


def test_conditions_that_are_needed() -> None:
    check_conditions(FULL)
    with pytest.raises(FileFormatError, match="do not say their precision") as caught:
        check_conditions(Conditions(runtime="x"))
    assert caught.value.hint == "Add --precision fp16 --batch-size 1."


def test_folders_and_defaults_of_what_is_filed(tmp_path: Path) -> None:
    for name, hint in (("My Board!", "--device my-board"), ("???", "--device my-device")):
        with pytest.raises(LatencyTableError) as caught:
            device_folder(tmp_path, name)
        assert caught.value.hint == hint
    assert device_folder(tmp_path, "a.b-2") == tmp_path / "a.b-2"
    assert [len(part) for part in today().split("-")] == [4, 2, 2]

    def filed(batch: int, *, keep_default: bool) -> tuple[str, list[str]]:
        conditions = Conditions(runtime="x", precision="fp16", batch_size=batch)
        account = Derivation(provenance="measured", method="m", networks="n", errors=(), caveats=())
        content = TableContent(predictors=(EntryPredictor(times_ms={"stem": float(batch)}),))
        fresh = imported_device("board", conditions, Origin(source="own", licence="own"), account, content)
        device = file_variant(tmp_path, fresh, content, keep_default=keep_default).device
        names: list[Variant] = list(device.variants)
        return device.default_variant, [variant.name for variant in names]

    assert filed(2, keep_default=True) == ("own-x-fp16-2", ["own-x-fp16-2"])
    assert filed(4, keep_default=True) == ("own-x-fp16-2", ["own-x-fp16-2", "own-x-fp16-4"])
    assert filed(1, keep_default=False) == ("own-x-fp16-1", ["own-x-fp16-1", "own-x-fp16-2", "own-x-fp16-4"])


def test_probes_halve_the_widest_gaps() -> None:
    """Of costs 0 to 8: the least, then the middle, a quarter, three quarters, and the eighths."""
    costs = np.arange(9.0)[::-1]
    rows = np.arange(9, dtype=np.uint8)[:, None]
    chosen = costs[choose_probes(rows, costs, 8)[:, 0]]
    # Eight evenly spread of nine: 0, 1, 2, 3, 5, 6, 7, 8 (8 n / 7, rounded).
    assert chosen.tolist() == [0, 5, 2, 7, 1, 6, 3, 8]

"""Files of others: every format is read, every mistake is named with its place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from ofa_toolkit.core.errors import FileFormatError, OfaToolkitError
from ofa_toolkit.latency.importing import (
    READERS,
    Conditions,
    ImportContext,
    NetworkMeasurements,
    UnitMeasurements,
    detect_format,
)
from ofa_toolkit.latency.importing.ofa_yaml import ofa_keys
from ofa_toolkit.latency.kit.back_ends import dotted_version
from ofa_toolkit.latency.kit.probes_file import read_probes
from ofa_toolkit.latency.measuring.measured_table import unit_items
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.spaces import Encoding, SearchSpace, get_space, lower, sample_population
from ofa_toolkit.spaces.official_architectures import to_official
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
from ofa_toolkit.spaces.units import unit_of
from tests.unit.latency.trtexec_stand_in import BANNERS, VERSIONS, summary

COMPACT = get_space("mobilenet-v3-compact")
CONTEXT = ImportContext(space=COMPACT)


def read(path: Path, context: ImportContext = CONTEXT) -> NetworkMeasurements | UnitMeasurements:
    return READERS[detect_format(path)]([path], context)


def write_yaml(path: Path, space: SearchSpace, spelling: int) -> dict[str, float]:
    """A table of a space at one resolution; entry n takes n ms. `spelling` chooses the style of the keys."""
    times: dict[str, float] = {}
    for item in unit_items(space):
        for spellings in ofa_keys(item.layers):
            key = spellings[min(spelling, len(spellings) - 1)]
            if key:
                times.setdefault(key, float(len(times) + 1))
    table = {key: {"mean": time, "std": 0.1, "count": 100} for key, time in times.items()}
    path.write_text(yaml.safe_dump(table))
    return times


# Keys of the public tables: gatech-sysml/CompOFA, latency_table@note10/224_lookup_table.yaml (MobileNetV3),
# and han-cai/files, proxylessnas/mobile_trim.yaml.
NOTE10 = {
    "Conv-input:224x224x3-output:112x112x24",
    "expanded_conv-input:112x112x24-output:112x112x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0",
    "expanded_conv-input:7x7x192-output:7x7x192-expand:768-kernel:5-stride:1-idskip:1-se:1-hs:1",
    "Conv_1-input:7x7x192-output:7x7x1152",
    "AvgPool2D-input:7x7x1152-output:1x1x1152",
    "Conv_2-input:1x1x1152-output:1x1x1536",
    "Logits-input:1x1x1536-output:1000",
}


def test_keys_are_those_of_the_public_tables() -> None:
    space = get_space("ofa-mobilenet-v3-w1.2").with_resolutions((224,))
    keys = {key for item in unit_items(space) for spellings in ofa_keys(item.layers) for key in spellings}
    assert keys >= NOTE10
    proxyless = get_space("ofa-proxyless-w1.3").with_resolutions((224,))
    keys = {key for item in unit_items(proxyless) for spellings in ofa_keys(item.layers) for key in spellings}
    width = proxyless.stages[1].widths[0]
    assert (
        f"expanded_conv-input:28x28x{width}-output:28x28x{width}-expand:6-kernel:7-stride:1-idskip:1" in keys
    )
    assert any(key.startswith("Logits-input:7x7x") for key in keys)


@pytest.mark.parametrize(("name", "spelling"), [("ofa-mobilenet-v3-w1.2", 0), ("ofa-proxyless-w1.3", 1)])
def test_yaml_tables_give_the_sum_of_their_entries(name: str, spelling: int, tmp_path: Path) -> None:
    space = get_space(name).with_resolutions((160, 224))
    sums = {}
    for size in (160, 224):
        own = space.with_resolutions((size,))
        times = write_yaml(tmp_path / f"{size}_lookup_table.yaml", own, spelling)
        for item in unit_items(own):
            keys = [next((k for k in each if k in times), None) for each in ofa_keys(item.layers)]
            sums[unit_signature(item.layers)] = sum(times[key] for key in keys if key)
    found = read(tmp_path, ImportContext(space=space))
    assert isinstance(found, UnitMeasurements)
    assert found.num_missing == 0
    assert set(found.times_ms) == set(sums)
    one = read(tmp_path / "160_lookup_table.yaml", ImportContext(space=space))
    assert isinstance(one, UnitMeasurements)
    assert 0 < one.num_missing < len(sums)


def test_bad_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "224_lookup_table.yaml"
    with pytest.raises(FileFormatError, match="which search space"):
        read(tmp_path, ImportContext())
    path.write_text("a: [1")
    with pytest.raises(FileFormatError, match="as YAML"):
        read(path)
    path.write_text("a: {count: 3}")
    with pytest.raises(FileFormatError, match="'a' has no 'mean'"):
        read(path)
    path.write_text("a: {mean: -3}")
    with pytest.raises(FileFormatError, match="not a positive time"):
        read(path)
    write_yaml(path, get_space("ofa-mobilenet-v3-w1.2").with_resolutions((224,)), 0)
    with pytest.raises(FileFormatError, match="measured for another space"):
        read(path)


def times_json(path: Path, median: float) -> Path:
    """As `exportJSONTrace` of TensorRT 8.2 writes it (samples/common/sampleReporting.cpp)."""
    runs = [
        f'{{ "startEnqMs" : {10 * i}, "endEnqMs" : {10 * i + 1}, "startH2dMs" : 0, "endH2dMs" : 0, '
        f'"startComputeMs" : {10 * i}, "endComputeMs" : {10 * i + 5}, "startD2hMs" : 0, "endD2hMs" : 0, '
        f'"h2dMs" : 0.1, "computeMs" : {50 if i < 20 else median}, "d2hMs" : 0.1, "latencyMs" : 9, '
        '"endToEndMs" : 9 }'
        for i in range(30)
    ]
    path.write_text("[\n  " + "\n, ".join(runs) + "\n]\n")
    return path


def test_exported_times_leave_the_warm_up_out(tmp_path: Path) -> None:
    subnet = COMPACT.largest()
    path = times_json(tmp_path / "times.json", 3.25)
    found = read(path, ImportContext(space=COMPACT, subnets=(subnet,)))
    assert isinstance(found, NetworkMeasurements)
    assert found.networks[0].latency_ms == 3.25
    assert found.networks[0].num_runs == 10
    assert found.networks[0].subnet == subnet
    with pytest.raises(FileFormatError, match="1 network timed by trtexec, 0 subnets"):
        read(path)


def profile_json(path: Path, space: SearchSpace) -> dict[str, float]:
    """As `exportJSONProfile` writes it, with the names TensorRT gives to fused layers of our graphs."""
    rows: list[dict[str, float | str]] = [{"count": 120}]
    by_unit: dict[str, float] = {}
    for index, layer in enumerate(lower(space, space.largest())):
        time = 0.01 * (index + 1)
        name = layer.name
        if layer.activation == "h_swish":
            name = f"{name} + PWN(PWN({name}.h_swish.hard_sigmoid), {name}.h_swish.mul)"
        rows.append(
            {"name": name, "timeMs": 120 * time, "averageMs": time, "medianMs": time, "percentage": 1}
        )
        by_unit[unit_of(layer.name)] = by_unit.get(unit_of(layer.name), 0.0) + time
    rows.append(
        {"name": "Reformatting CopyNode for Input Tensor 0", "timeMs": 6, "averageMs": 0.05, "percentage": 0}
    )
    path.write_text(json.dumps(rows))
    return by_unit


def test_profiles_become_units(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    expected = profile_json(path, COMPACT)
    subnet = COMPACT.largest()
    found = read(path, ImportContext(space=COMPACT, subnets=(subnet,)))
    assert isinstance(found, UnitMeasurements)
    assert found.bias_ms == pytest.approx(0.05)
    layers = lower(COMPACT, subnet)
    stem = [layer for layer in layers if unit_of(layer.name) == "stem"]
    assert found.times_ms[unit_signature(stem)] == pytest.approx(expected["stem"])
    assert found.num_missing > 0
    with pytest.raises(FileFormatError, match="profile of another network"):
        read(
            path,
            ImportContext(space=get_space("ofa-resnet50"), subnets=(get_space("ofa-resnet50").largest(),)),
        )


def test_csv_with_official_columns(tmp_path: Path) -> None:
    rows = sample_population(COMPACT, 5, np.random.default_rng(0))
    subnets = Encoding(COMPACT).decode(rows)
    text = "resolution,d,ks,e,latency_us,batch,precision,runtime,num_runs\n"
    for index, subnet in enumerate(subnets):
        arch = to_official(COMPACT, subnet)
        lists = ",".join("-".join(str(int(v)) for v in arch[key]) for key in ("d", "ks", "e"))
        text += f"32,{lists},{1500 + index},8,fp16,tensorrt,50\n"
    path = tmp_path / "rows.csv"
    path.write_text(text)
    found = read(path)
    assert isinstance(found, NetworkMeasurements)
    assert [network.subnet for network in found.networks] == subnets
    assert found.networks[2].latency_ms == pytest.approx(1.502)
    assert found.conditions == Conditions(precision="fp16", batch_size=8, runtime="tensorrt")
    with pytest.raises(FileFormatError, match="precision"):
        read(path, ImportContext(space=COMPACT, conditions=Conditions(precision="fp32")))
    path.write_text(path.read_text().replace("fp16", "half"))
    with pytest.raises(FileFormatError, match=r"rows\.csv.*Unknown precision 'half'"):
        read(path, ImportContext(space=COMPACT))


def test_csv_with_subnet_files(tmp_path: Path) -> None:
    write_subnet(tmp_path / "a.json", SubnetFile(space=COMPACT, supernet=None, subnet=COMPACT.smallest()))
    path = tmp_path / "rows.csv"
    path.write_text("subnet,latency_s\na.json,0.002\n")
    found = read(path)
    assert isinstance(found, NetworkMeasurements)
    assert found.networks[0].subnet == COMPACT.smallest()
    assert found.networks[0].latency_ms == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resolution,d,ks,e,latency\n32,1,3,3,2\n", "'latency' does not say its unit"),
        ("latency_ms\n1\n", "has no column that tells the subnet; it has latency_ms"),
        ("resolution,d,ks,e,latency_ms\n32,1-1-1-1-1,3,3,fast\n", "line 2, latency: 'fast'"),
        ("resolution,d,ks,e,latency_ms\n32,1-1-1-1-1,3x,3,2\n", "line 2"),
        ("resolution,d,ks,e,latency_ms,batch\n32,1-1-1-1-1,3,3,2,two\n", "'two' is not a batch size"),
        ("resolution,d,ks,e,latency_ms\n", "holds no rows"),
    ],
)
def test_bad_csv_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(OfaToolkitError, match=message):
        read(path)


def test_unknown_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("hello")
    with pytest.raises(FileFormatError, match="no known format"):
        detect_format(other)
    journal = tmp_path / "results.jsonl"
    journal.write_text("hello\n")
    with pytest.raises(FileFormatError, match="holds no results"):
        read(journal)
    broken = tmp_path / "times.json"
    broken.write_text("[")
    with pytest.raises(FileFormatError, match="not valid JSON"):
        detect_format(broken)


@pytest.mark.parametrize(
    ("printed", "meant"),
    [("8201", "8.2.1"), ("8603", "8.6.3"), ("100200", "10.2.0"), ("101001", "10.10.1"), ("110000", "11.0.0")],
)
def test_versions_as_trtexec_prints_them(printed: str, meant: str) -> None:
    assert dotted_version(printed) == meant


SEVEN = """\
&&&& RUNNING TensorRT.trtexec # ./trtexec --onnx=a.onnx --fp16
[05/01/2021-10:00:00] [I] Precision: FP32+FP16
[05/01/2021-10:00:03] [I] Host Latency
[05/01/2021-10:00:03] [I] min: 9.1 ms (end to end 9.3 ms)
[05/01/2021-10:00:03] [I] median: 9.5 ms (end to end 9.9 ms)
[05/01/2021-10:00:03] [I] GPU Compute
[05/01/2021-10:00:03] [I] min: 7.0 ms
[05/01/2021-10:00:03] [I] max: 8.0 ms
[05/01/2021-10:00:03] [I] mean: 7.3 ms
[05/01/2021-10:00:03] [I] median: 7.25 ms
[05/01/2021-10:00:03] [I] percentile: 7.9 ms at 99%
&&&& PASSED TensorRT.trtexec # ./trtexec --onnx=a.onnx --fp16
"""


def log(version: str, ms: float, *, precision: str = "FP32+FP16") -> str:
    name = next(known for known in VERSIONS if known == version)
    return (
        f"&&&& RUNNING TensorRT.trtexec [TensorRT {BANNERS[name]}] # trtexec --onnx=a.onnx\n"
        f"[06/12/2022-22:33:00] [I] Precision: {precision}\n"
        "[06/12/2022-22:33:00] [I] Selected Device: NVIDIA Tegra X1\n"
        "[06/12/2022-22:33:50] [I] Input binding for image with dimensions 4x3x32x32 is created.\n"
        f"{summary(name, ms)}&&&& PASSED TensorRT.trtexec [TensorRT {BANNERS[name]}]\n"
    )


@pytest.mark.parametrize(("version", "meant"), [("8.2", "8.2.1"), ("10", "10.2.0")])
def test_a_log_of_trtexec(version: str, meant: str, tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    path.write_text("some shell output\n" + log(version, 7.5) + log(version, 8.5))
    assert detect_format(path) == "trtexec-log"
    measured = read(path, ImportContext(space=COMPACT, subnets=(COMPACT.smallest(), COMPACT.largest())))
    assert isinstance(measured, NetworkMeasurements)
    assert [(n.latency_ms, n.num_runs) for n in measured.networks] == [(7.5, 60), (8.5, 60)]
    assert measured.conditions == Conditions(
        runtime="tensorrt",
        runtime_version=meant,
        precision="fp16",
        batch_size=4,
        processor="NVIDIA Tegra X1",
    )
    with pytest.raises(FileFormatError, match="2 networks timed by trtexec, 0 subnets"):
        read(path, ImportContext(space=COMPACT))
    path.write_text(log(version, 7.5) + log(version, 8.5, precision="FP32"))
    with pytest.raises(FileFormatError, match="precision = fp32"):
        read(path, ImportContext(space=COMPACT, subnets=(COMPACT.smallest(), COMPACT.largest())))


def test_a_log_of_tensorrt_seven_and_one_without_times(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text(SEVEN)
    context = ImportContext(space=COMPACT, subnets=(COMPACT.smallest(),))
    measured = read(path, context)
    assert isinstance(measured, NetworkMeasurements)
    assert [n.latency_ms for n in measured.networks] == [7.25]
    assert measured.conditions.precision == "fp16"
    path.write_text("\n".join(SEVEN.splitlines()[:3]) + "\n[E] Engine could not be created\n")
    with pytest.raises(FileFormatError, match="holds no 'GPU Compute Time'"):
        read(path, context)


def test_blocks_in_json_and_with_keys_in_a_sheet(tmp_path: Path) -> None:
    space = get_space("ofa-mobilenet-v3-w1.0").with_resolutions((160,))
    write_yaml(tmp_path / "160_lookup_table.yaml", space, 0)
    context = ImportContext(space=space)
    expected = read(tmp_path / "160_lookup_table.yaml", context)
    assert isinstance(expected, UnitMeasurements)
    entries = yaml.safe_load((tmp_path / "160_lookup_table.yaml").read_text())
    nested, plain = tmp_path / "phone.json", tmp_path / "160_lookup_table.json"
    nested.write_text(json.dumps({"160": entries}))
    plain.write_text(json.dumps({key: entry["mean"] for key, entry in entries.items()}))
    sheet = tmp_path / "blocks.csv"
    rows = [f"160,{key},{entry['mean']},{entry['count']}" for key, entry in entries.items()]
    sheet.write_text("\n".join(["resolution,key,mean_ms,count", *rows]) + "\n")
    for path in (nested, plain, sheet):
        assert detect_format(path) == "ofa-yaml"
        measured = read(path, context)
        assert isinstance(measured, UnitMeasurements)
        assert measured.times_ms == expected.times_ms
        assert measured.by_resolution == expected.by_resolution


def test_a_shape_keeps_the_time_it_had_at_each_resolution(tmp_path: Path) -> None:
    """216 and 224 pixels share the shapes of their last stage."""
    space = get_space("ofa-mobilenet-v3-w1.0").with_resolutions((216, 224))
    for size, factor in ((216, 1.0), (224, 2.0)):
        path = tmp_path / f"{size}_lookup_table.yaml"
        write_yaml(path, space.with_resolutions((size,)), 0)
        table = {key: {**entry, "mean": factor} for key, entry in yaml.safe_load(path.read_text()).items()}
        path.write_text(yaml.safe_dump(table))
    measured = read(tmp_path, ImportContext(space=space))
    assert isinstance(measured, UnitMeasurements)
    shared = set(measured.by_resolution[216]) & set(measured.by_resolution[224])
    assert shared
    for signature in shared:
        assert measured.by_resolution[224][signature] == 2 * measured.by_resolution[216][signature]


def test_files_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    contents = {
        "csv": "resolution,d,ks,e,latency_ms\n32,1,3,3,1\n",
        "kit": '{"type": "session"}\n{"type": "result"}\n',
        "trtexec-times": '[{"computeMs": 1.0}]',
        "trtexec-profile": '[{"count": 1}, {"name": "a", "averageMs": 1.0}]',
        "ofa-yaml": "Conv-input:224x224x3-output:112x112x24:\n  mean: 1.0\n",
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.dat"
        path.write_text(content)
        assert detect_format(path) == name


def test_what_was_tried_is_named_and_planned_networks_are_sent_on(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    with pytest.raises(FileFormatError, match=r"no JSON lines of a kit.*log of trtexec.*YAML, JSON.*no CSV"):
        detect_format(notes)
    planned = tmp_path / "probes.json"
    planned.write_text('{"format": "ofa-toolkit/latency-probes", "version": 1, "probes": []}')
    with pytest.raises(FileFormatError, match="holds planned networks") as caught:
        detect_format(planned)
    assert str(caught.value.hint).startswith(f"ofa-tk latency calibrate {planned} --device")
    planned = planned.rename(tmp_path / "my probes.json")
    with pytest.raises(FileFormatError) as caught:
        detect_format(planned)
    assert str(caught.value.hint).startswith(f"ofa-tk latency calibrate '{planned}' --device")
    with pytest.raises(FileFormatError, match="is no probes file") as caught:
        read_probes(tmp_path / "my results.jsonl")
    read = f"`ofa-tk latency import '{tmp_path / 'my results.jsonl'}'`"
    assert caught.value.hint == f"{read} reads the results of a kit."

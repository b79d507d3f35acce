"""Measuring this machine: the correction, what survives a kill, what is filed and where."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ofa_toolkit.core.errors import (
    MeasurementError,
    MismatchError,
    MissingDependencyError,
    UnknownNameError,
)
from ofa_toolkit.core.registry import Registry
from ofa_toolkit.latency import importing, load_table, read_device, runtimes
from ofa_toolkit.latency.device_names import find_device
from ofa_toolkit.latency.importing import READERS
from ofa_toolkit.latency.measuring.effort import Effort
from ofa_toolkit.latency.measuring.measure import Estimate
from ofa_toolkit.latency.measuring.measured_table import (
    TableAccuracy,
    UnitCorrection,
    build_table,
    draw_networks,
    network_items,
    unit_items,
)
from ofa_toolkit.latency.runtimes import RUNTIMES, RuntimeOptions, isolate
from ofa_toolkit.pipelines.latency import measure as pipeline
from ofa_toolkit.pipelines.latency.measure import MeasureReport, measure_latency
from ofa_toolkit.pipelines.latency.request import MeasureRequest
from ofa_toolkit.spaces import Encoding, get_space, lower, sample_population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from tests.heard import Heard
from tests.unit.latency.made_up_runtime import MadeUpRuntime, true_ms

NAME = "mobilenet-v3-compact"
SPACE = get_space(NAME)
QUICK = Effort(num_passes=2, num_rounds=1, num_network_rounds=1, burst_ms=0.1, chunk_size=10)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> MadeUpRuntime:
    made = MadeUpRuntime()
    monkeypatch.setattr(pipeline, "RUNTIMES", {"made-up": lambda _options: made})
    return made


def request(folder: Path, **changes: object) -> MeasureRequest:
    base = MeasureRequest(
        space=NAME, runtime="made-up", folder=folder, num_fit=30, num_check=20, effort=QUICK
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def run(folder: Path, **changes: object) -> MeasureReport:
    return measure_latency(request(folder, **changes))


def test_the_correction_finds_the_law(runtime: MadeUpRuntime, tmp_path: Path) -> None:
    report = run(tmp_path)
    assert report.accuracy.mape_percent < 0.1
    assert report.accuracy.spearman is not None
    assert report.accuracy.spearman > 0.999
    assert report.uncorrected.mape_percent > 5
    assert report.correction.scale == pytest.approx(1.0, abs=0.01)
    table = load_table("this-cpu", [tmp_path])
    population = sample_population(SPACE, 50, np.random.default_rng(7))
    expected = [true_ms(lower(SPACE, subnet)) for subnet in Encoding(SPACE).decode(population)]
    np.testing.assert_allclose(table.bind(SPACE).predict(population), expected, rtol=0.005)


def test_the_table_says_how_it_came_about(runtime: MadeUpRuntime, tmp_path: Path) -> None:
    report = run(tmp_path)
    variant = load_table("this-cpu", [tmp_path]).variant
    assert variant.name == "this-machine-made-up-fp32-1"
    assert variant.provenance == "measured"
    assert variant.threads == 1
    assert variant.errors[0].num_networks == 20
    assert variant.errors[0].space == NAME
    assert "62 units" in variant.networks
    # The stand-in's wall time is 1.25 times its processor time: somebody else had a fifth of it.
    assert report.waiting_percent == pytest.approx(20, abs=0.1)
    assert any("busy" in caveat for caveat in variant.caveats)


def test_check_networks_take_no_part_in_the_fit() -> None:
    fit, check = draw_networks(SPACE, 30, 20, seed=0)
    assert not {row.tobytes() for row in fit} & {row.tobytes() for row in check}
    found: dict[str, Estimate] = {}
    for item in [
        *unit_items(SPACE),
        *network_items(SPACE, "fit", fit),
        *network_items(SPACE, "check", check),
    ]:
        found[item.key] = estimate(true_ms(item.layers), item.row)
    honest = build_table(SPACE, found)
    spoilt = {
        key: estimate(7 * e.time_ms, e.row) if key.startswith("check") else e for key, e in found.items()
    }
    other = build_table(SPACE, spoilt)
    assert other.correction == honest.correction
    assert other.predictor == honest.predictor
    assert other.accuracy.mape_percent > 80


def estimate(time_ms: float, row: tuple[int, ...] | None) -> Estimate:
    return Estimate(time_ms=time_ms, median_ms=time_ms, spread=0.0, waiting=None, num_runs=30, row=row)


def test_a_killed_run_goes_on(runtime: MadeUpRuntime, tmp_path: Path) -> None:
    runtime.fails_after = 75
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    journal = next(tmp_path.rglob("*.jsonl"))
    first = [json.loads(line) for line in journal.read_text().splitlines()]
    num_first = sum(line["type"] == "result" for line in first)
    assert 0 < num_first < 112
    with journal.open("a") as file:
        file.write('{"type": "result", "item": "fit 3", "pa')
    runtime.fails_after = None
    heard = Heard()
    report = measure_latency(request(tmp_path), reporter=heard)
    assert heard.steps[0].done == num_first
    assert heard.steps[-1].done == 2 * 112
    assert any("dropped damaged or cut-off line" in text for text in heard.messages)
    results = [
        (line["item"], line["pass"])
        for line in map(json.loads, filter(lambda t: t.endswith("}"), journal.read_text().splitlines()))
        if line["type"] == "result"
    ]
    assert len(results) == len(set(results)) == 2 * 112
    assert report.accuracy.mape_percent < 0.1


def test_other_conditions_need_a_restart(runtime: MadeUpRuntime, tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(MeasurementError, match="num_fit"):
        run(tmp_path, num_fit=10)
    assert run(tmp_path, num_fit=10, is_restart=True).accuracy.num_networks == 20


def test_spaces_of_one_machine_share_a_table(runtime: MadeUpRuntime, tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path, space=f"{NAME}-compound", num_fit=15, num_check=10)
    table = load_table("this-cpu", [tmp_path])
    assert {error.space for error in table.variant.errors} == {NAME, f"{NAME}-compound"}
    for name in (NAME, f"{NAME}-compound"):
        space = get_space(name)
        population = sample_population(space, 20, np.random.default_rng(0))
        expected = [true_ms(lower(space, subnet)) for subnet in Encoding(space).decode(population)]
        np.testing.assert_allclose(table.bind(space).predict(population), expected, rtol=0.02)


def test_another_machine_is_refused(runtime: MadeUpRuntime, tmp_path: Path) -> None:
    run(tmp_path)
    runtime.device_name = "Another CPU"
    with pytest.raises(MismatchError, match="Made-Up CPU"):
        run(tmp_path)
    assert run(tmp_path, device="that-cpu").table.startswith("that-cpu:")
    assert read_device(tmp_path / "that-cpu").chip == "Another CPU"


def test_a_bundled_device_stays_what_it_is(runtime: MadeUpRuntime, tmp_path: Path) -> None:
    before = find_device("jetson-nano").device
    for _ in range(2):
        run(tmp_path, device="jetson-nano", is_restart=True)
        after = find_device("jetson-nano", [tmp_path]).device
        assert (after.chip, after.software) == (before.chip, before.software)
        assert {v.name for v in after.variants} - {v.name for v in before.variants} == {after.default_variant}
    with pytest.raises(MismatchError, match=r"'epyc-zen5' is '.*'; this machine is 'Made-Up CPU'"):
        run(tmp_path, device="epyc-zen5")
    runtime.device_name = "Another Nano"
    with pytest.raises(MismatchError, match="'jetson-nano' is 'Made-Up CPU'; this machine is 'Another Nano'"):
        run(tmp_path, device="jetson-nano")


def test_bad_requests_write_nothing(runtime: MadeUpRuntime, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="compact"):
        run(tmp_path, space="mobilenet-v3-compakt")
    with pytest.raises(MeasurementError, match="3 networks"):
        run(tmp_path, num_check=1)
    with pytest.raises(MeasurementError, match="too few subnets"):
        run(tmp_path, space=f"{NAME}-compound", num_fit=300)
    assert not list(tmp_path.iterdir())


def test_a_part_becomes_a_network_of_its_own() -> None:
    layers = lower(SPACE, SPACE.largest())
    block = [layer for layer in layers if layer.name.startswith("stages.1.1.")]
    alone = isolate(block)
    assert {name for layer in alone for name in layer.inputs} >= {"input"}
    assert isolate(alone) == alone
    with pytest.raises(MeasurementError, match="2 inputs"):
        isolate([layer for layer in block if layer.kind == "add"])


def test_a_correction_never_turns_a_time_negative() -> None:
    assert UnitCorrection(scale=0.9, per_unit_ms=-1.0).apply(0.5, 0.0) == pytest.approx(0.1)


def test_accuracy_ranks_ties_fairly() -> None:
    accuracy = TableAccuracy.of(np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0, 4.0]))
    assert accuracy.spearman == pytest.approx(1.0)
    assert accuracy.mape_percent == pytest.approx(6.25)


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_real_runtimes_time_blocks_and_networks(name: str) -> None:
    runtime = RUNTIMES[name](RuntimeOptions())
    layers = lower(SPACE, SPACE.smallest())
    block: tuple[LayerSpec, ...] = isolate([x for x in layers if x.name.startswith("stages.0.0.")])
    for each in (layers, block):
        times = runtime.prepare(each, seed=0).time_runs(3)
        assert times.wall_ms.shape == (3,)
        assert (times.own_ms > 0).all()
        assert times.cpu_ms is not None
    assert runtime.version
    assert runtime.device_name


def test_several_threads_are_timed_by_the_clock() -> None:
    runtime = RUNTIMES["onnxruntime"](RuntimeOptions(num_threads=2))
    assert runtime.prepare(lower(SPACE, SPACE.smallest()), seed=0).time_runs(2).cpu_ms is None


def test_what_a_runtime_cannot_do_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        RUNTIMES["onnxruntimes"]
    with pytest.raises(MeasurementError, match="fp32"):
        RUNTIMES["onnxruntime"](RuntimeOptions(precision="fp16"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match="tensorrt") as caught:
        RUNTIMES["tensorrt"](RuntimeOptions(processor="cuda"))
    assert "latency kit build" in (caught.value.hint or "")


def test_a_whole_measurement_with_onnxruntime(tmp_path: Path) -> None:
    effort = Effort(num_passes=1, num_rounds=1, num_network_rounds=1, burst_ms=0.5, chunk_size=16)
    report = measure_latency(
        MeasureRequest(space=f"{NAME}-compound", folder=tmp_path, num_fit=5, num_check=4, effort=effort)
    )
    table = load_table("this-cpu:this-machine-onnxruntime-fp32-1", [tmp_path])
    space = get_space(f"{NAME}-compound")
    population = sample_population(space, 10, np.random.default_rng(0))
    assert (table.bind(space).predict(population) > 0).all()
    assert report.num_units == 32
    assert table.device.kind == "cpu"


@pytest.mark.parametrize(
    ("registry", "folder", "others"),
    [
        (RUNTIMES, Path(runtimes.__file__).parent, {"__init__", "runtime"}),
        (
            READERS,
            Path(importing.__file__).parent,
            {"__init__", "block_file", "detection", "json_records", "measurements", "sheet", "variant"},
        ),
    ],
)
def test_every_file_is_registered(registry: Registry[object], folder: Path, others: set[str]) -> None:
    modules = {registry.location(name).partition(":")[0].rpartition(".")[2] for name in registry}
    assert modules == {path.stem for path in folder.glob("*.py")} - others

"""From a foreign file to a table that predicts, filed where search finds it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from ofa_toolkit.complexity import PopulationComplexity, count_macs
from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import FileFormatError, LatencyTableError
from ofa_toolkit.latency import Device, LatencyTable, Variant, load_table
from ofa_toolkit.latency.audit.rows import signature_macs
from ofa_toolkit.latency.filing import file_variant
from ofa_toolkit.latency.importing import Conditions, UnitMeasurements
from ofa_toolkit.latency.importing.ofa_yaml import ofa_keys
from ofa_toolkit.latency.importing.variant import Origin, imported_device
from ofa_toolkit.latency.kit.board import agent
from ofa_toolkit.latency.measuring.measured_table import unit_items
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.pipelines.latency import importing as pipeline
from ofa_toolkit.pipelines.latency.importing import import_latency
from ofa_toolkit.pipelines.latency.kit import make_kit
from ofa_toolkit.pipelines.latency.request import ImportRequest, KitRequest
from ofa_toolkit.spaces import Encoding, SearchSpace, get_space, sample_population
from ofa_toolkit.spaces.official_architectures import to_official
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
from tests.unit.latency.trtexec_stand_in import write_stand_in

COMPACT = get_space("mobilenet-v3-compact")
OTHER_CPU = Conditions(runtime="onnxruntime", precision="fp32", batch_size=1)


def write_csv(path: Path, space: SearchSpace, num_rows: int) -> None:
    """Networks that take 0.1 ms and 50 microseconds for each million MACs."""
    rows = sample_population(space, num_rows, np.random.default_rng(0))
    macs = PopulationComplexity(space).macs(rows)
    lines = ["resolution,d,ks,e,latency_ms"]
    for subnet, count in zip(Encoding(space).decode(rows), macs, strict=True):
        arch = to_official(space, subnet)
        lists = ",".join("-".join(str(int(v)) for v in arch[key]) for key in ("d", "ks", "e"))
        lines.append(f"{subnet.resolution},{lists},{0.1 + 50e-9 * count}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def nothing_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Look for copies in what a test wrote only, which takes less time."""
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setenv("OFA_TK_DATA", str(empty))
    monkeypatch.setattr(resources, "data_path", lambda _kind: empty)


@pytest.fixture
def no_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "prior_tables", lambda *_args, **_options: [])


def test_a_kit_becomes_a_table(no_prior: None, tmp_path: Path) -> None:
    make_kit(KitRequest(out=tmp_path / "kit.zip", target="tensorrt-8.2", space=COMPACT.name, num_probes=6))
    program, results = write_stand_in(tmp_path / "trtexec", "8.2"), tmp_path / "results.jsonl"
    arguments = ["--kit", str(tmp_path / "kit.zip"), "--trtexec", str(program), "--out", str(results)]
    assert agent.main(arguments) == 0
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:-3]) + lines[-3][:40])  # a prefix, torn in the middle of a line
    report = import_latency(ImportRequest(paths=(results,), device="my-nano", folder=tmp_path / "tables"))
    assert report.provenance == "transferred"
    assert report.mape_percent is not None
    table = load_table("my-nano", [tmp_path / "tables"])
    assert table.variant.runtime == "tensorrt"
    assert table.variant.runtime_version == "8.2.1"
    assert table.variant.precision == "fp16"
    assert "MACs and a constant" in " ".join(table.variant.caveats)
    rows = sample_population(COMPACT, 20, np.random.default_rng(1))
    assert (table.bind(COMPACT).predict(rows) > 0).all()


def known_devices() -> list[LatencyTable]:
    """Two devices: one bound by arithmetic, one by the number of its layers."""
    found = []
    for name, per_mac, per_layer in (("arithmetic", 1e-7, 0.0), ("launches", 0.0, 0.01)):
        times = {
            item.key.removeprefix("unit "): per_mac * count_macs(item.layers) + per_layer * len(item.layers)
            for item in unit_items(COMPACT)
        }
        found.append(table_of(name, times))
    return found


def table_of(name: str, times: dict[str, float]) -> LatencyTable:
    content = TableContent(predictors=(EntryPredictor(times_ms=times),))
    variant = Variant(
        name="made-up-onnxruntime-fp32-1",
        source="made up",
        source_licence="none",
        date="2026-01-31",
        runtime="onnxruntime",
        precision="fp32",
        batch_size=1,
        provenance="modelled",
        method="made up",
        networks="none",
        identity=content.identity,
    )
    device = Device(
        name=name, title=name, kind="cpu", chip="x", default_variant=variant.name, variants=(variant,)
    )
    return LatencyTable(device=device, variant=variant, content=content)


def test_networks_are_fitted_with_what_other_devices_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "prior_tables", lambda *_args, **_options: known_devices())
    write_csv(tmp_path / "rows.csv", COMPACT, 12)
    request = ImportRequest(
        paths=(tmp_path / "rows.csv",),
        space=COMPACT.name,
        device="my-board",
        conditions=OTHER_CPU,
        folder=tmp_path / "tables",
    )
    report = import_latency(request)
    assert report.mape_percent is not None
    assert report.mape_percent < 0.1
    assert report.num_checked == 12
    table = load_table("my-board", [tmp_path / "tables"])
    assert "arithmetic" in table.variant.method or "MACs" in table.variant.method
    rows = sample_population(COMPACT, 50, np.random.default_rng(1))
    expected = 0.1 + 50e-9 * PopulationComplexity(COMPACT).macs(rows)
    np.testing.assert_allclose(table.bind(COMPACT).predict(rows), expected, rtol=0.001)
    assert import_latency(request).table == report.table


def test_blocks_are_composed(nothing_shipped: None, tmp_path: Path) -> None:
    space = get_space("ofa-mobilenet-v3-w1.2").with_resolutions((224,))
    table = {}
    for item in unit_items(space):
        keys = ofa_keys(item.layers)
        time = 0.01 + signature_macs(unit_signature(item.layers)) / 2e7
        table |= {key: {"mean": time / len(keys), "std": 0.0, "count": 100} for key, *_ in keys}
    path = tmp_path / "224_lookup_table.yaml"
    path.write_text(yaml.safe_dump(table))
    request = ImportRequest(
        paths=(path,),
        space="ofa-mobilenet-v3-w1.2",
        device="my-phone",
        conditions=Conditions(runtime="tflite", precision="fp32", batch_size=1),
        source="Someone's Lab",
        folder=tmp_path / "tables",
    )
    report = import_latency(request)
    assert report.table == "my-phone:someone-s-lab-tflite-fp32-1"
    bound = load_table("my-phone", [tmp_path / "tables"]).bind(get_space("ofa-mobilenet-v3-w1.2"))
    rows = sample_population(get_space("ofa-mobilenet-v3-w1.2"), 5, np.random.default_rng(0), resolution=224)
    assert (bound.predict(rows) > 0).all()
    smaller = sample_population(
        get_space("ofa-mobilenet-v3-w1.2"), 5, np.random.default_rng(0), resolution=160
    )
    with pytest.raises(LatencyTableError, match="resolution 160") as caught:
        bound.predict(smaller)
    assert str(caught.value.hint).endswith("--fix resolution=224")


def test_what_the_file_does_not_say_must_be_given(no_prior: None, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_csv(path, COMPACT, 5)
    base = {"paths": (path,), "space": COMPACT.name, "folder": tmp_path / "tables"}
    with pytest.raises(FileFormatError, match="their device"):
        import_latency(ImportRequest(**base, conditions=OTHER_CPU))  # type: ignore[arg-type]
    with pytest.raises(FileFormatError, match="their runtime") as caught:
        import_latency(ImportRequest(**base, device="x"))  # type: ignore[arg-type]
    assert caught.value.hint == "Add --runtime NAME --precision fp16 --batch-size 1."
    write_csv(path, COMPACT, 2)
    with pytest.raises(LatencyTableError, match="too few"):
        import_latency(ImportRequest(**base, device="x", conditions=OTHER_CPU))  # type: ignore[arg-type]
    other = tmp_path / "times.json"
    other.write_text(json.dumps([{"computeMs": 1.0}]))
    with pytest.raises(FileFormatError, match="2 formats"):
        import_latency(ImportRequest(paths=(path, other), space=COMPACT.name))
    assert not (tmp_path / "tables").exists()


def test_what_an_audit_refuses_is_not_imported(no_prior: None, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_csv(path, COMPACT, 6)
    path.write_text(path.read_text().replace("latency_ms", "latency_s"))
    request = ImportRequest(
        paths=(path,), space=COMPACT.name, device="board", folder=tmp_path / "t", conditions=OTHER_CPU
    )
    with pytest.raises(LatencyTableError, match=r"fails the audit: units: 6 of 6 rows.*ms as s") as caught:
        import_latency(request)
    assert f"ofa-tk latency audit {path} --space {COMPACT.name}" in str(caught.value.hint)
    assert not (tmp_path / "t").exists()
    report = import_latency(dataclasses.replace(request, accepts_findings=True))
    assert any("in spite of the audit: units" in caveat for caveat in report.caveats)
    assert load_table("board", [tmp_path / "t"]).variant.caveats == report.caveats


def test_single_networks_are_audited_too(no_prior: None, tmp_path: Path) -> None:
    subnets, paths = [], []
    for number, subnet in enumerate((COMPACT.smallest(), COMPACT.largest())):
        subnets.append(tmp_path / f"{number}.subnet.json")
        write_subnet(subnets[-1], SubnetFile(space=COMPACT, supernet=None, subnet=subnet))
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps([{"computeMs": 9000.0}] * 20))
    request = ImportRequest(
        paths=tuple(paths),
        subnets=tuple(subnets),
        space=COMPACT.name,
        device="board",
        folder=tmp_path / "t",
        conditions=Conditions(precision="fp16", batch_size=1),
    )
    with pytest.raises(LatencyTableError, match="fails the audit: units"):
        import_latency(request)


def test_another_devices_table_is_sent_to_that_device(nothing_shipped: None, tmp_path: Path) -> None:
    space = get_space("mobilenet-v3-compact-compound")
    times = {
        unit_signature(item.layers): 0.01 + signature_macs(unit_signature(item.layers)) / 2e7
        for item in unit_items(space)
    }
    measured = UnitMeasurements(space=space, times_ms=times, num_missing=0, conditions=OTHER_CPU)
    content, account = pipeline._compose(measured)
    folder = tmp_path / "t"
    origin = Origin(source="own", licence="own")
    file_variant(folder, imported_device("first", OTHER_CPU, origin, account, content), content)
    request = ImportRequest(paths=(tmp_path / "a.json",), device="second", folder=folder)
    with pytest.raises(LatencyTableError, match=r"is the table first:.*row for row") as caught:
        pipeline._audited(request, measured, "trtexec-profile", "second")
    assert "--device first files it where it comes from" in str(caught.value.hint)
    assert pipeline._audited(request, measured, "trtexec-profile", "first") == ()

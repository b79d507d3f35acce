"""The measuring kit, from building to results: what the target parses, what the agent does on a board."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import vermin

from ofa_toolkit.core.errors import ExportError, MeasurementError, UnknownNameError
from ofa_toolkit.latency.importing import ImportContext
from ofa_toolkit.latency.importing.kit_results import read_kit_results
from ofa_toolkit.latency.kit.board import agent
from ofa_toolkit.latency.kit.board.journal import Journal
from ofa_toolkit.latency.kit.board.trtexec import parse_summary, trtexec_arguments
from ofa_toolkit.latency.kit.build import is_kit
from ofa_toolkit.latency.kit.probes import choose_probes
from ofa_toolkit.latency.kit.program import agent_program
from ofa_toolkit.pipelines.latency.kit import make_kit
from ofa_toolkit.pipelines.latency.request import KitRequest
from tests.unit.latency.trtexec_stand_in import VERSIONS, Version, summary, write_stand_in

SPACE = "mobilenet-v3-compact"


@pytest.fixture(scope="module")
def nano_kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kit") / "kit.zip"
    make_kit(KitRequest(out=path, target="tensorrt-8.2", space=SPACE, num_probes=4))
    return path


@pytest.fixture(scope="module")
def typed_kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kit") / "kit.zip"
    make_kit(KitRequest(out=path, target="tensorrt-11.0", space=SPACE, num_probes=3))
    return path


def unpacked(kit: Path, folder: Path) -> Path:
    with zipfile.ZipFile(kit) as archive:
        archive.extractall(folder)
    return folder


def run_agent(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the kit as a board would: its own folder, no package of ours on the path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "measure.py", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    text = (folder / "results.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if line["type"] == kind]


def test_networks_are_what_a_nano_parses(nano_kit: Path) -> None:
    with zipfile.ZipFile(nano_kit) as archive:
        manifest = json.loads(archive.read("kit.json"))
        names = [probe["files"]["fp32"]["name"] for probe in manifest["probes"]]
        models = [onnx.load_from_string(archive.read(name)) for name in names]
    assert manifest["precision"] == "fp16"
    for model in models:
        onnx.checker.check_model(model, full_check=True)
        assert model.opset_import[0].version <= 13
        assert model.ir_version <= 7
        assert "HardSwish" not in {node.op_type for node in model.graph.node}
        assert all(d.dim_value > 0 for d in model.graph.input[0].type.tensor_type.shape.dim)


@pytest.mark.parametrize(
    ("target", "is_for_device"), [("jetson-nano", True), ("onnxruntime-cpu", False), ("tensorrt-8.2", False)]
)
def test_a_kit_knows_whether_its_times_have_a_device(
    target: str, is_for_device: bool, tmp_path: Path
) -> None:
    path = tmp_path / "kit.zip"
    report = make_kit(KitRequest(out=path, target=target, space=SPACE, num_probes=3))
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("kit.json"))
    assert (report.is_device, manifest["is_for_device"]) == (is_for_device, is_for_device)


def test_a_kit_of_many_networks_is_small(nano_kit: Path) -> None:
    with zipfile.ZipFile(nano_kit) as archive:
        networks = [entry for entry in archive.infolist() if entry.filename.endswith(".onnx")]
    assert nano_kit.stat().st_size < 0.5 * sum(entry.file_size for entry in networks)
    assert is_kit(nano_kit)


def test_typed_networks_come_with_targets_without_precision_flags(typed_kit: Path) -> None:
    with zipfile.ZipFile(typed_kit) as archive:
        probe = json.loads(archive.read("kit.json"))["probes"][0]
        model = onnx.load_from_string(archive.read(probe["files"]["fp16"]["name"]))
    assert {i.data_type for i in model.graph.initializer} == {onnx.TensorProto.FLOAT16}


def test_every_prefix_of_the_probes_is_spread() -> None:
    population = np.arange(100, dtype=np.uint8)[:, None]
    cost = np.arange(100.0)
    chosen = choose_probes(population, cost, 16)[:, 0].astype(int)
    assert len(set(chosen)) == 16
    for count in (4, 8, 16):
        gaps = np.diff(np.sort(np.append(chosen[:count], 100)))
        assert gaps.max() <= 100 / count * 1.6


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="jetson-nanoo"):
        make_kit(KitRequest(out=tmp_path / "k.zip", target="jetson-nanoo", space=SPACE))
    with pytest.raises(MeasurementError, match="int8"):
        make_kit(KitRequest(out=tmp_path / "k.zip", target="tensorrt-11.0", space=SPACE, precision="int8"))
    with pytest.raises(ExportError, match="int8"):
        make_kit(KitRequest(out=tmp_path / "k.zip", target="tensorrt-7.1", space=SPACE, precision="int8"))
    with pytest.raises(MeasurementError, match="fp32"):
        make_kit(KitRequest(out=tmp_path / "k.zip", target="onnxruntime-cpu", space=SPACE, precision="fp16"))
    assert not list(tmp_path.iterdir())


def test_agent_runs_under_python_36() -> None:
    config = vermin.Config()
    config.add_target((3, 6), exact=False)
    versions = vermin.detect(agent_program(), config)
    assert versions[1] is not None
    assert versions[1] <= (3, 6)


def test_agent_imports_the_standard_library_only(tmp_path: Path) -> None:
    (tmp_path / "measure.py").write_text(agent_program(), encoding="utf-8")
    script = "import sys; sys.modules['numpy'] = sys.modules['onnxruntime'] = None; import runpy; "
    script += f"runpy.run_path({str(tmp_path / 'measure.py')!r}, run_name='agent')"
    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True)


@pytest.mark.parametrize(("version", "exports_times"), [*((v, True) for v in VERSIONS), ("8.2", False)])
def test_every_generation_of_trtexec_is_driven_alike(
    nano_kit: Path, typed_kit: Path, tmp_path: Path, version: Version, exports_times: bool
) -> None:
    folder = unpacked(typed_kit if version == "11" else nano_kit, tmp_path)
    program = write_stand_in(tmp_path / "trtexec", version, exports_times=exports_times)
    done = run_agent(folder, "--trtexec", str(program), "--num-probes", "2")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "kit.json").read_text())
    kind = "fp16" if version == "11" else "fp32"
    for probe, line in zip(manifest["probes"][:2], lines(folder, "result"), strict=True):
        size = (folder / probe["files"][kind]["name"]).stat().st_size
        # The stand-in takes 0.1 ms less under CUDA graphs: all generations are timed without.
        assert line["median_ms"] == pytest.approx(size / 1e5, abs=1e-4)
        assert line["num_runs"] == (47 if exports_times else 60)
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    for call in calls:
        options = {argument.partition("=")[0] for argument in call}
        assert ("--noCudaGraph" in options) == (version == "11")
        assert ("--noDataTransfers" in options) == (version != "11")
        assert ("--fp16" in options) == (version != "11")
    measured = read_kit_results([folder / "results.jsonl"], ImportContext())
    expected = {"8.2": "8.2.1", "8.6": "8.6.3", "10": "10.2.0", "11": "11.0.0"}[version]
    assert measured.conditions.runtime == "tensorrt"
    assert measured.conditions.runtime_version == expected
    assert measured.conditions.precision == "fp16"
    assert len(measured.networks) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_summaries_are_read(version: Version) -> None:
    result = parse_summary(summary(version, 7.14139))
    assert result is not None
    assert result["median_ms"] == 7.14139
    assert result["num_runs"] == 60
    assert parse_summary("Throughput: 3 qps") is None


def test_cuda_graphs_can_be_asked_for_everywhere() -> None:
    old, _ = trtexec_arguments(["fp16", "useCudaGraph", "noDataTransfers"], "fp16", True)
    new, is_typed = trtexec_arguments(["noCudaGraph", "includeDataTransfers"], "fp16", True)
    assert "--useCudaGraph" in old
    assert "--noCudaGraph" not in new
    assert is_typed


def test_a_kit_without_typed_networks_says_so(nano_kit: Path, tmp_path: Path) -> None:
    folder = unpacked(nano_kit, tmp_path)
    program = write_stand_in(tmp_path / "trtexec", "11")
    done = run_agent(folder, "--trtexec", str(program))
    assert done.returncode == 1
    assert "--typed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_network_that_fails_does_not_stop_the_rest(nano_kit: Path, tmp_path: Path) -> None:
    folder = unpacked(nano_kit, tmp_path)
    # Only large networks have a third block in their last stage.
    program = write_stand_in(tmp_path / "trtexec", "8.2", fails_on="stages.4.2.")
    done = run_agent(folder, "--trtexec", str(program))
    failures, results = lines(folder, "failure"), lines(folder, "result")
    assert len(failures) + len(results) == 4
    assert failures
    assert results
    assert done.returncode == 1
    assert "Failed to parse onnx file" in failures[0]["error"]
    measured = read_kit_results([folder / "results.jsonl"], ImportContext())
    assert any("could not be timed" in caveat for caveat in measured.caveats)


def test_end_to_end_with_onnxruntime_and_resume_after_a_kill(tmp_path: Path) -> None:
    kit = tmp_path / "kit.zip"
    make_kit(
        KitRequest(out=kit, target="onnxruntime-cpu", space="mobilenet-v3-compact-compound", num_probes=3)
    )
    folder = unpacked(kit, tmp_path / "board")
    process = subprocess.Popen(
        [sys.executable, "measure.py", "--backend", "onnxruntime"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[1/3] 000"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    first = lines(folder, "result")
    assert len(first) < 3
    with (folder / "results.jsonl").open("a") as file:
        file.write('{"type": "result", "probe": "001", "med')  # power went while this was written
    done = run_agent(folder, "--backend", "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert [line[:5] for line in done.stderr.splitlines() if line.startswith("[")] == ["[2/3]", "[3/3]"]
    assert "less than a minute left" in done.stderr or len(first) > 0
    measured = read_kit_results([folder / "results.jsonl"], ImportContext())
    assert len(measured.networks) == 3
    text = (folder / "results.jsonl").read_text().splitlines()
    assert len([line for line in text if '"probe": "000"' in line and '"type": "result"' in line]) == 1
    assert all(network.latency_ms > 0 for network in measured.networks)
    assert measured.conditions.runtime == "onnxruntime"
    assert measured.conditions.threads == 1


def test_other_conditions_are_not_mixed(nano_kit: Path, tmp_path: Path) -> None:
    folder = unpacked(nano_kit, tmp_path)
    program = write_stand_in(tmp_path / "trtexec", "8.6")
    assert run_agent(folder, "--trtexec", str(program), "--num-probes", "1").returncode == 0
    done = run_agent(folder, "--trtexec", str(program), "--precision", "fp32")
    assert done.returncode == 1
    assert "precision" in done.stderr
    assert len(lines(folder, "result")) == 1


def test_a_damaged_kit_is_named(nano_kit: Path, tmp_path: Path) -> None:
    folder = unpacked(nano_kit, tmp_path)
    network = next((folder / "networks").iterdir())
    network.write_bytes(network.read_bytes()[:-10] + b"0123456789")
    program = write_stand_in(tmp_path / "trtexec", "10")
    done = run_agent(folder, "--trtexec", str(program))
    assert done.returncode == 1
    assert "damaged" in done.stderr


def test_the_zip_itself_can_be_run(nano_kit: Path, tmp_path: Path) -> None:
    program = write_stand_in(tmp_path / "trtexec", "8.2")
    out = tmp_path / "r.jsonl"
    status = agent.main(
        ["--kit", str(nano_kit), "--trtexec", str(program), "--num-probes", "1", "--out", str(out)]
    )
    assert status == 0
    assert len(Journal(str(out)).of_type("result")) == 1

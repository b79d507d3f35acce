"""`ofa-tk latency measure | kit | import | audit`: output, JSON, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ofa_tk.app import run
from ofa_toolkit.latency.kit.board import agent
from ofa_toolkit.pipelines.latency import importing as import_latency
from ofa_toolkit.pipelines.latency import measure as measure_latency
from tests.unit.latency.made_up_runtime import MadeUpRuntime
from tests.unit.latency.trtexec_stand_in import write_stand_in

SPACE = "mobilenet-v3-compact-compound"


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error of a command that must fail without a traceback."""
    assert run(["latency", *arguments]) in (1, 2)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert "unexpected" not in captured.err
    return captured.err


def test_measure_files_a_table_where_show_and_predict_find_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure_latency, "RUNTIMES", {"made-up": lambda _options: MadeUpRuntime()})
    arguments = ["measure", "--runtime", "made-up", "--space", SPACE, "--passes", "1", "--fit-networks", "8"]
    assert run(["latency", *arguments, "--check-networks", "5", "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["table"] == "this-cpu:this-machine-made-up-fp32-1"
    assert report["accuracy"]["num_networks"] == 5
    assert "left" in captured.err
    assert run(["latency", *arguments, "--check-networks", "5"]) == 0
    captured = capsys.readouterr()
    assert "measured" in captured.out
    assert "Next: ofa-tk latency show this-cpu" in captured.err
    assert "results are there from before" in captured.err
    assert run(["latency", "show", "this-cpu"]) == 0
    assert "this-machine-made-up-fp32-1" in capsys.readouterr().out


def test_a_kit_is_built_run_and_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    build = ["kit", "build", "--target", "tensorrt-8.2", "--space", SPACE, "--num-probes", "4"]
    assert run(["latency", *build, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["opset"], report["ir_version"], report["precision"]) == (13, 7, "fp16")
    assert run(["latency", *build]) == 0  # the default output is ours and may be replaced
    Path("mine.zip").write_text("mine")
    assert "would be overwritten" in refused(capsys, *build, "--out", "mine.zip")
    program = write_stand_in(tmp_path / "trtexec", "8.2")
    assert agent.main(["--kit", "kit.zip", "--trtexec", str(program)]) == 0
    capsys.readouterr()
    assert "do not say their device" in refused(capsys, "import", "results.jsonl")  # a version is no device
    monkeypatch.setattr(import_latency, "prior_tables", lambda *_args, **_options: [])
    assert run(["latency", "import", "results.jsonl", "--device", "my-nano", "--json"]) == 0
    imported = json.loads(capsys.readouterr().out)
    assert imported["table"] == "my-nano:own-measurements-tensorrt-fp16-1"
    assert imported["provenance"] == "transferred"


def test_audit_names_rows_and_exits_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("rows.csv")
    path.write_text("resolution,d,ks,e,latency_ms\n32,1,3,3,1.0\n32,1,5,4,-2\n")
    assert run(["latency", "audit", "rows.csv", "--space", "mobilenet-v3-compact"]) == 1
    captured = capsys.readouterr()
    assert "positive" in captured.out
    assert "line 3" in captured.out
    assert run(["latency", "audit", "rows.csv", "--space", "mobilenet-v3-compact", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["is_clean"] is False
    assert report["findings"][0]["rows"][0].startswith("line 3")
    path.write_text("resolution,d,ks,e,latency_ms\n32,1,3,3,1.0\n32,1,5,4,1.2\n")
    assert run(["latency", "audit", "rows.csv", "--space", "mobilenet-v3-compact"]) == 0
    assert "nothing found" in capsys.readouterr().out


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'mobilenet-v3-compact'" in refused(
        capsys, "measure", "--space", "mobilenet-v3-compac"
    )
    assert "Did you mean 'onnxruntime'" in refused(capsys, "measure", "--space", SPACE, "--runtime", "onnxrt")
    assert "'big' is no list" in refused(capsys, "measure", "--space", SPACE, "--resolutions", "big")
    assert "not offered" in refused(capsys, "measure", "--space", SPACE, "--resolutions", "33")
    assert "Unknown target" in refused(capsys, "kit", "build", "--target", "toaster", "--space", SPACE)
    Path("rows.csv").write_text("resolution,d,ks,e,latency_ms\n32,1,3,3,1.0\n")
    assert "search space" in refused(capsys, "import", "rows.csv")
    assert "Unknown format" in refused(capsys, "import", "rows.csv", "--format", "xml")
    Path("notes.txt").write_text("hello")
    assert "no known format" in refused(capsys, "audit", "notes.txt")
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["notes.txt", "rows.csv"]

"""Build kits: the right line for each TensorRT, and a check script that finds what is wrong."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_toolkit.core.errors import OutputError
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.build_kit import write_build_kit
from ofa_toolkit.export.comparison import ModelRunner
from ofa_toolkit.export.exporter import FileForm
from ofa_toolkit.export.kit import check
from ofa_toolkit.export.target_devices import resolve_target, target_of_device
from ofa_toolkit.export.targets import GENERATIONS
from ofa_toolkit.export.trtexec import commands
from ofa_toolkit.graphs import weighted_nodes
from tests.unit.export.engine_lists import engine_list
from tests.unit.export.samples import NANO, model

TENSORRT = [row.name for row in GENERATIONS if row.software.builds_engines]


def line(target: str, precision: FilePrecision = "fp32", batch_size: int | None = 1) -> tuple[str, ...]:
    form = FileForm(target=resolve_target(target), precision=precision, batch_size=batch_size)
    return commands(form, "input", (3, 8, 8)).build


@pytest.mark.parametrize("name", TENSORRT)
def test_precision_is_a_flag_up_to_tensorrt_10(name: str) -> None:
    is_typed = name == "tensorrt-11.0"
    assert ("--fp16" in line(name, "fp16")) != is_typed
    # What is not quantised may be in half precision, else it would stay in single.
    assert ("--fp16 --int8" in " ".join(line(name, "int8"))) != is_typed
    assert "--noTF32" in line(name, "fp32")


@pytest.mark.parametrize("name", TENSORRT)
def test_options_came_and_went(name: str) -> None:
    text = " ".join(line(name))
    since = tuple(int(part) for part in name.removeprefix("tensorrt-").split("."))
    assert ("--workspace=" in text) == (since < (8, 4))
    assert ("--memPoolSize=workspace:" in text) == (since >= (8, 4))
    assert ("--explicitBatch" in text) == (since < (8, 2))
    assert ("--exportLayerInfo=layers.json" in text) == (since >= (8, 2))
    # CUDA graphs and no copies are flags up to 10 and defaults from 11 on: the same is timed.
    assert ("--useCudaGraph --noDataTransfers" in text) == ((8, 0) <= since < (11, 0))


def test_open_batch_names_its_shapes() -> None:
    text = " ".join(line("tensorrt-8.6", batch_size=None))
    assert "--minShapes=input:1x3x8x8 --optShapes=input:8x3x8x8 --maxShapes=input:32x3x8x8" in text


def test_check_script_is_python_3_6_and_needs_nothing() -> None:
    source = Path(check.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= set(sys.stdlib_module_names)
    assert "__future__" not in imported


FAKE_TRTEXEC = """#!{python}
import json, sys
sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
arguments = dict(a.lstrip("-").partition("=")[::2] for a in sys.argv[1:])
behaviour = json.load(open("behaviour.json"))
print("&&&& RUNNING TensorRT.trtexec [TensorRT v" + behaviour["version"] + "] # trtexec")
if "onnx" in arguments:
    if behaviour.get("fails"):
        print("[E] Error[4]: no implementation for node 7")
        sys.exit(1)
    open(arguments["saveEngine"], "w").write("engine")
    json.dump(behaviour["layers"], open(arguments["exportLayerInfo"], "w"))
    print("[I] board at 41 \u00b0C")
    print("[I] GPU Compute Time: min = 1.1 ms, max = 1.9 ms, mean = 1.3 ms, median = 1.2 ms")
else:
    assert open(arguments["loadEngine"]).read() == "engine"
    values = [v + behaviour.get("error", 0) for v in json.load(open("kit.json"))["expected"]]
    outputs = [{{"name": "logits", "dimensions": "1x4", "values": values}}]
    json.dump(outputs, open(arguments["exportOutput"], "w"))
"""


def make_kit(folder: Path, wider: Sequence[str] = (), **behaviour: Any) -> Path:
    """A kit in fp16, and a trtexec that builds some of its layers in fp32."""
    form = FileForm(target=target_of_device(NANO), precision="fp16")
    file = model(opset=13, precision="fp16")
    precisions = {node.name: "fp32" if node.name in wider else "fp16" for node in weighted_nodes(file)}
    images = generator(0, "kit").standard_normal((1, 3, 8, 8), dtype=np.float32)
    write_build_kit(folder, file, form, images, ModelRunner(model(opset=13))(images))
    program = folder / "trtexec"
    program.write_text(FAKE_TRTEXEC.format(python=sys.executable))
    program.chmod(0o755)
    (folder / "behaviour.json").write_text(
        json.dumps({"version": "8201", "layers": engine_list(file, precisions, "8.2"), **behaviour})
    )
    return folder


def run_check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(folder / "check.py"), "--trtexec", str(folder / "trtexec"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_good_board_passes(tmp_path: Path) -> None:
    folder = make_kit(tmp_path / "kit")
    result = run_check(folder)
    assert result.returncode == 0, result.stderr
    assert "TensorRT 8.2.1; 7 layers with weights: 7 in fp16" in result.stdout
    report = json.loads((folder / "result.json").read_text())
    assert report["gpu_compute"]["median_ms"] == 1.2
    assert report["max_relative_error"] == 0


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (
            {"wider": ["depthwise", "project"]},
            "not as promised: 'depthwise' in fp32, 'project' in fp32 (36.6 % of the MACs)",
        ),
        ({"layers": {"Layers": []}}, "The engine inspector lists no layers."),
        ({"error": 1.0}, "differ from the network's"),
        ({"version": "8503"}, "This board has TensorRT 8.5.3, the kit is for tensorrt-8.2"),
        ({"version": "100300"}, "This board has TensorRT 10.3.0"),
        ({"fails": True}, "trtexec failed (1), see build.log: [E] Error[4]: no implementation"),
    ],
)
def test_what_is_wrong_on_the_board_is_found(tmp_path: Path, behaviour: dict[str, Any], message: str) -> None:
    folder = make_kit(tmp_path / "kit", **behaviour)
    result = run_check(folder)
    assert result.returncode == 1
    assert message in result.stderr
    assert not (folder / "result.json").exists()


def test_a_board_without_a_locale_passes(tmp_path: Path) -> None:
    folder = make_kit(tmp_path / "kit-ü")
    words = [sys.executable, "-X", "utf8=0", folder / "check.py", "--trtexec", folder / "trtexec"]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": ""}
    result = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert "41 °C" in (folder / "build.log").read_text(encoding="utf-8")


def test_changed_kit_is_refused(tmp_path: Path) -> None:
    folder = make_kit(tmp_path / "kit")
    (folder / "model.onnx").write_bytes(b"other")
    assert "was changed since the kit was written" in run_check(folder).stderr


def test_commands_can_be_printed_without_a_board(tmp_path: Path) -> None:
    folder = make_kit(tmp_path / "kit")
    printed = run_check(folder, "--print").stdout
    assert "trtexec --onnx=model.onnx --saveEngine=model.engine --workspace=512 --fp16" in printed
    assert "No GPU was present" in (folder / "README.md").read_text()


def test_existing_folder_is_kept(tmp_path: Path) -> None:
    make_kit(tmp_path / "kit")
    with pytest.raises(OutputError, match="exists"):
        make_kit(tmp_path / "kit")

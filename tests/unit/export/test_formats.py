"""Other formats: each is registered, refuses what it cannot do, and needs no package until it is used."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from ofa_tk.app import run
from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import ExportError, MissingDependencyError
from ofa_toolkit.export import formats
from ofa_toolkit.export.ends import Ends, factors
from ofa_toolkit.export.file_values import file_input, scores_of_file, scores_of_network
from ofa_toolkit.export.formats import FORMATS
from ofa_toolkit.export.formats.format import check_installed, in_batches
from ofa_toolkit.export.formats.network import NetworkWithEnds, in_half
from ofa_toolkit.export.target_devices import format_of
from ofa_toolkit.latency.device import Kind
from ofa_toolkit.pipelines.export.formats import check_format
from ofa_toolkit.pipelines.export.searched_target import default_format, export_command, format_target
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
from tests.unit.export.openvino_standin import make_module

SETTINGS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}


def test_the_next_command_is_in_the_devices_own_format(tmp_path: Path) -> None:
    def proposed(*devices: str, **options: object) -> str:
        return export_command({"latency_ms": {f"{device}:a": {} for device in devices}}, **options)

    assert proposed("note10") == "ofa-tk export --format litert"
    assert proposed("note10", "pixel1") == "ofa-tk export --format litert --target note10"
    assert proposed("note10", "jetson-nano") == "ofa-tk export --onnx --target jetson-nano"
    assert proposed("jetson-nano") == "ofa-tk export --onnx"
    assert proposed() == "ofa-tk export --onnx --target onnxruntime-cpu"


def test_every_file_is_registered() -> None:
    folder = Path(formats.__file__).parent
    shared = {"__init__", "format", "network", "folder"}
    assert {path.stem for path in folder.glob("*.py")} - shared == set(FORMATS)
    for name, form in FORMATS.items():
        assert (form.name, form.extra) == (name, name)
        assert "fp32" in form.precisions


def test_the_page_and_the_devices_know_every_format() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/export.md").read_text(encoding="utf-8")
    for name, form in FORMATS.items():
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` ")]
        assert row.split(" | ")[2] == ", ".join(form.precisions)
        assert f"ofa-toolkit[{form.extra}]" in row
    assert {format_of(kind) for kind in get_args(Kind)} <= {None, *FORMATS}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", ["normalised", "uint8"])
@pytest.mark.parametrize(("output", "k"), [("logits", None), ("probabilities", None), ("topk", 2)])
def test_the_network_in_torch_takes_and_gives_what_files_do(
    kind: str, layout: str, output: str, k: int | None
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 4), nn.Flatten())
    ends = Ends(input=kind, layout=layout, output=output, k=k)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 4)).astype(np.float32)
    scale, shift = factors(SETTINGS)
    images = pixels * scale + shift
    wrapped = NetworkWithEnds(network, ends, *((scale, shift) if ends.takes_pixels else (None, None)))
    with torch.no_grad():
        found = wrapped(torch.from_numpy(file_input(images, ends, SETTINGS)))
        logits = network(torch.from_numpy(images)).numpy()
    outputs = [value.numpy() for value in (found if k else [found])]
    expected = scores_of_network(logits, ends)
    np.testing.assert_allclose(scores_of_file(outputs, ends, 5), expected, rtol=1e-4, atol=1e-5)


def test_a_network_in_half_keeps_its_ends_and_leaves_the_original() -> None:
    torch.manual_seed(0)
    ends = Ends(input="uint8", layout="NHWC", output="probabilities")
    network = NetworkWithEnds(nn.Sequential(nn.Conv2d(3, 5, 4), nn.Flatten()), ends, *factors(SETTINGS))
    pixels = torch.randint(0, 256, (3, 4, 4, 3), dtype=torch.uint8)
    with torch.no_grad():
        before, found = network(pixels), in_half(network)(pixels)
        assert torch.equal(network(pixels), before)
    assert found.dtype == torch.float32
    assert 0 < float((found - before).abs().max()) < 2e-2


def test_any_number_of_images_by_a_file_for_four() -> None:
    def four(images: np.ndarray) -> list[np.ndarray]:
        assert images.shape == (4, 2)
        return [images.sum(1), images]

    images = np.arange(14.0).reshape(7, 2)
    sums, same = in_batches(four, 4)(images)
    np.testing.assert_array_equal(sums, images.sum(1))
    np.testing.assert_array_equal(same, images)


def test_what_a_format_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExportError, match="not written in 'int8'; fp32, fp16 are"):
        check_format(FORMATS["ncnn"], "int8", has_data=True)
    with pytest.raises(ExportError, match="int8 needs real images"):
        check_format(FORMATS["openvino"], "int8", has_data=False)
    for name, ends in (
        ("ncnn", Ends(input="uint8")),
        ("coreml", Ends(input="uint8")),
        ("executorch", Ends(output="topk", k=3)),
    ):
        with pytest.raises(ExportError, match=r"files (take|give) "):
            FORMATS[name].check(ends)

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    for form in FORMATS.values():
        with pytest.raises(MissingDependencyError) as error:
            check_installed(form)
        assert error.value.hint == f"pip install 'ofa-toolkit[{form.name}]'"


def test_phones_default_to_litert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [default_format(None, name) for name in ("note10", "jetson-nano", "onnxruntime-cpu", "no")] == [
        "litert",
        "onnx",
        "onnx",
        "onnx",
    ]
    assert default_format(None, None) == "onnx"
    Path("subnet.json").write_text('{"predicted": {"latency_ms": {"pixel1:a": 3, "pixel1:b": 4}}}')
    assert default_format(None, None) == "litert"
    assert format_target(None, None).name == "pixel1"
    assert format_target("absent.json", None).name == "onnxruntime-cpu"


def test_from_export_to_verify_and_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "2026.4" if name == "openvino" else real(name)
    )
    monkeypatch.setitem(sys.modules, "openvino", make_module())
    space = get_space("mobilenet-v3-compact")
    shutil.copytree(resources.data_path("zoo") / "deps-compact-cifar10", "net")
    write_subnet("subnet.json", SubnetFile(space=space, supernet="./net", subnet=space.smallest()))
    command = [
        "export",
        "--format",
        "openvino",
        "--precision",
        "fp16",
        "--input",
        "uint8",
        "--output",
        "topk=3",
    ]
    assert run([*command, "--batch-size", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["converters"] == {"openvino": "2026.4"}
    assert document["metadata"]["comparison"]["agreement_percent"] == 100
    assert Path("subnet-openvino/labels.txt").read_text().splitlines()[0] == "airplane"
    assert "fp16='True'" in Path("subnet-openvino/model.xml").read_text()
    assert run(["verify", "subnet-openvino", "--json"]) == 0
    checks = {check["claim"]: check["status"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks.pop("predicted latency") == "not checked"
    assert set(checks.values()) == {"passed"}
    assert run(["benchmark", "subnet-openvino", "--runs", "5", "--json"]) == 0
    [timing] = json.loads(capsys.readouterr().out)["timings"]
    assert (timing["provider"], timing["batch_size"]) == ("openvino", 2)
    Path("net").rename("moved")
    assert run(["verify", "subnet-openvino", "--data", "fake"]) == 1
    assert "Say where it is: --supernet NAME|DIR" in capsys.readouterr().err
    Path("moved").rename("net")
    Path("subnet-openvino/model.bin").write_bytes(b"damaged")
    assert run(["verify", "subnet-openvino"]) == 1
    assert "is not what it says: files, outputs" in capsys.readouterr().err
    assert run(["benchmark", "subnet-openvino"]) == 1
    assert "OpenVINO cannot run 'subnet-openvino/model.xml'" in capsys.readouterr().err

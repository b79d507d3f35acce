"""`ofa-tk latency list`, `show` and `predict`: provenance beside every number, one JSON document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ofa_tk.app import run
from ofa_toolkit.latency.table import list_devices
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet


@pytest.fixture
def subnet_path(tmp_path: Path) -> str:
    space = get_space("ofa-mobilenet-v3-w1.2")
    path = tmp_path / "subnet.json"
    write_subnet(path, SubnetFile(space=space, supernet=None, subnet=space.largest()))
    return str(path)


@pytest.mark.parametrize("network", ["", "mobilenet-v3-large"])
def test_an_input_that_no_layer_is_left_of_is_refused(
    network: str, subnet_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["latency", "predict", network or subnet_path, "--device", "jetson-nano", "--resolution"]
    assert run([*command, "16"]) == 1
    assert "16 pixels are too few for " in capsys.readouterr().err
    assert run([*command, "17"]) == 0
    assert "how far it is off is unchecked" in capsys.readouterr().err


def test_list_tells_provenance_and_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["latency", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    default = next(line for line in lines if line.startswith(" jetson-nano "))
    assert "transferred" in default
    assert "%" in default
    assert run(["latency", "list", "--device", "v100", "--json"]) == 0
    (device,) = json.loads(capsys.readouterr().out)
    assert {variant["provenance"] for variant in device["variants"]} == {"fitted"}


def test_show_names_source_and_caveats(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["latency", "show", "a40"]) == 0
    text = capsys.readouterr().out
    assert "transferred" in text
    assert "! Transferred: no mobile network has been measured on an A40" in text
    assert run(["latency", "show", "v100:help-pytorch-fp32-1", "--json"]) == 0
    variant = json.loads(capsys.readouterr().out)
    assert variant["device"] == "v100"
    assert variant["source_licence"] == "MIT"


def test_predictions_carry_their_conditions(subnet_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["latency", "predict", subnet_path, "--device", "v100:help-pytorch-fp32-1", "--device", "a40"]
    assert run([*command, "--confidence", "0.9", "--json"]) == 0
    fitted, transferred = json.loads(capsys.readouterr().out)
    assert fitted["interval"] == "calibrated"
    assert fitted["upper_ms"] > fitted["latency_ms"]
    assert fitted["extrapolations"] == []
    assert transferred["interval"] == "uncalibrated"
    assert transferred["upper_ms"] is None
    assert transferred["provenance"] == "transferred"
    assert transferred["batch_size"] == 64
    assert transferred["extrapolations"]
    assert transferred["mape_percent"] is None
    assert not transferred["is_checked"]
    assert transferred["mape_of"].startswith("one neighbour from the other, here a100 from rtx-3090")
    (warning,) = transferred["warnings"]
    assert "Accel-NASBench's MnasNet space at 224 pixels" in warning
    assert run(command) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert any("fitted, calibrated" in line and "mean error 4.21 %" in line for line in lines)
    assert any(
        "transferred, uncalibrated" in line and "unchecked here, 4.6 to 15 %" in line for line in lines
    )
    assert "Warning" in shown.err
    assert "one neighbour from the other, here a100 from rtx-3090" in shown.err


@pytest.mark.parametrize("name", ["jetson-nano:transfer-tensorrt-fp16-1", "a40:transfer-pytorch-fp32-64"])
def test_a_search_says_that_its_figures_are_transferred(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = ("population_size=8", "num_children=8", "num_generations=2")
    settings = [word for setting in quick for word in ("--set", setting)]
    assert run(["search", "--device", name, "--latency", "1s", *settings]) == 0
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if f" ms on {name}" in line)
    assert line.startswith("latency ")
    assert "transferred, uncalibrated, " in line
    written = json.loads((tmp_path / "subnet.json").read_text())["predicted"]["latency_ms"][name]
    assert written["provenance"] == "transferred"
    assert written["interval"] == "uncalibrated"
    assert written["mape_of"].startswith(("each published network of this board", "one neighbour from the"))
    assert written["mape_of"] in text
    assert written["error"] in line
    assert written["caveats"][0].startswith("Transferred")


def test_every_transferred_variant_is_shown_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    found = [(d, v) for d in list_devices() for v in d.variants if v.provenance == "transferred"]
    assert len(found) >= 7
    for device, variant in found:
        assert run(["latency", "show", f"{device.name}:{variant.name}"]) == 0
        shown = capsys.readouterr().out
        for text in ("transferred", "uncalibrated", "! Transferred", variant.errors[0].split):
            assert text in shown


def test_standard_networks_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["latency", "predict", "mobilenet-v3-large", "--device", "jetson-nano", "--json"]
    assert run(command) == 0
    (at_224,) = json.loads(capsys.readouterr().out)
    assert run([*command, "--resolution", "160"]) == 0
    (at_160,) = json.loads(capsys.readouterr().out)
    assert at_160["latency_ms"] < at_224["latency_ms"]
    assert any("resolution 160" in note for note in at_160["extrapolations"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "jetson-nanu"], "Did you mean 'jetson-nano'?"),
        (["list", "--device", "v10"], "ofa-tk latency measure --space ofa-mobilenet-v3-w1.0 --device v10"),
        (["predict", "mobilenet-v3-larg", "--device", "v100"], "Did you mean 'mobilenet-v3-large'?"),
        (["predict", "mobilenet-v3-large", "--device", "v100:x"], "Unknown variant of v100 'x'"),
    ],
)
def test_a_wrong_name_gets_the_nearest(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["latency", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_what_a_table_does_not_cover_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["latency", "predict", "resnet-50", "--device", "v100"]) == 1
    error = capsys.readouterr().err
    assert "dense convolutions" in error


def test_a_pipelined_chip_tells_throughput_and_never_a_latency(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["latency", "predict", "mobilenet-v3-large", "--device", "hailo-8", "--json"]) == 0
    (prediction,) = json.loads(capsys.readouterr().out)
    assert prediction["latency_ms"] is prediction["interval_90_ms"] is None
    low, high = prediction["interval_90_per_s"]
    assert 0 < low < prediction["throughput_per_s"] < high
    assert run(["search", "--device", "hailo-8", "--latency", "5ms"]) == 1
    assert "throughput alone" in capsys.readouterr().err


def test_a_few_networks_give_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    """XR2's published rows repeat those of the S22: another name of it."""
    networks = ["mobilenet-v3-large", "mnasnet-1.0"]
    assert run(["latency", "predict", *networks, "--device", "Snapdragon XR2 Gen 2", "--json"]) == 0
    for prediction in json.loads(capsys.readouterr().out):
        low, high = prediction["interval_90_ms"]
        assert prediction["device"] == "galaxy-s22:qualcomm-tflite-fp16-1"
        assert low < prediction["latency_ms"] < high
        assert prediction["is_checked"]


@pytest.mark.parametrize("name", ["runs/nothing/net.config", "nothing.json", "net/"])
def test_a_file_that_is_missing_is_no_unknown_standard_network(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["latency", "predict", name, "--device", "v100"]) == 1
    assert f"No such file: '{name}'." in capsys.readouterr().err

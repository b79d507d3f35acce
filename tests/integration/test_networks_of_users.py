"""Spaces, checkpoints and networks that users bring, through the commands."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from ofa_tk.app import run
from ofa_toolkit.export.metadata import load_model, read_metadata
from ofa_toolkit.spaces import SearchSpace, get_space, restrict
from ofa_toolkit.spaces.space_file import dumps_space
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.supernets import Supernet, extract, save_supernet
from ofa_toolkit.supernets.importing.official_checkpoints import official_supernet_weights
from ofa_toolkit.supernets.importing.official_config import save_official_network
from ofa_toolkit.zoo.supernet import load_supernet
from tests.integration.small_runs import IMAGES

BASE = get_space("mobilenet-v3-compact").with_num_classes(4).with_resolutions((8,))
INVENTED = dataclasses.replace(
    BASE,
    name="mine",
    stages=tuple(
        dataclasses.replace(stage, depths=(1, 2), expand_ratios=(2, 2.5), kernel_sizes=(5,))
        for stage in BASE.stages[:3]
    ),
)
Captured = pytest.CaptureFixture[str]


def ok(*words: object) -> None:
    assert run([str(word) for word in words]) == 0, words


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFA_TK_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)


def test_a_space_of_ones_own_works_in_every_command(capsys: Captured) -> None:
    space = INVENTED
    save_supernet("net", Supernet(space))
    ok("search", "--supernet", "net", "--maximize", "macs", "--macs", "1M")
    found = read_subnet("subnet.json", space)
    assert {k for stage in found.subnet.stages for k in stage.kernel_sizes} == {5}
    # The subnet's file says all about it, also without the supernet.
    assert read_subnet("subnet.json").subnet in space
    ok("evaluate", "--supernet", "net", "--data", IMAGES, "--random", 1, "--recalibration-images", 8)
    ok("extract", "--data", IMAGES)
    ok("export", "--data", IMAGES, "--target", "onnxruntime-cpu", "--onnx")
    metadata = read_metadata(load_model("subnet.onnx"))
    assert metadata.space_identity == space.identity
    ok("verify", "subnet.onnx", "--data", IMAGES)
    ok("zoo", "package", "net", "--name", "own", "--out", "own")
    ok("search", "--supernet", "./own", "--maximize", "macs", "--macs", "1M", "--out", "again.json")
    ok("latency", "kit", "build", "--space", "net", "--num-probes", 3, "--target", "onnxruntime-cpu")
    capsys.readouterr()
    ok("spaces", "show", "net", "--toml")
    assert capsys.readouterr().out == dumps_space(space)


def test_a_file_names_a_space_to_search_and_to_train(capsys: Captured) -> None:
    Path("mine.toml").write_text(dumps_space(INVENTED))
    ok("search", "--space", "mine.toml", "--maximize", "macs", "--macs", "1M")
    assert read_subnet("subnet.json").space == INVENTED
    train = ["train", "--recipe", "deps-compact-cifar10", "--data", IMAGES, "--epochs", 1]
    small = ["--set", "training.batch_size=16", "--set", "data.validation_size=8"]
    ok(*train, *small, "--space", "mine.toml", "--out", "run")
    Path("mine.toml").unlink()
    assert load_supernet("run").space == INVENTED
    ok(*train, *small, "--space", "run", "--init", "run", "--out", "second")
    ok("finetune", "--supernet", "run", "--data", IMAGES, "--epochs", 1, "--out", "tuned")
    assert read_subnet("tuned/subnet.json", INVENTED).subnet == read_subnet("subnet.json").subnet
    capsys.readouterr()
    assert run([str(word) for word in (*train, *small, "--init", "run", "--out", "third")]) == 1
    assert "Hint: Train that one: --space run\n" in capsys.readouterr().err


def test_only_trained_kernels_are_offered(capsys: Captured) -> None:
    space = BASE.with_resolutions((32,))
    supernet = Supernet(space)
    torch.save({"net": official_supernet_weights(supernet), "epoch": 7}, "last.pth")
    ok("zoo", "import", "last.pth", "--space", BASE.name, "--kernel-sizes", 5, "--out", "net")
    captured = capsys.readouterr()
    assert "333 tensors under 'net', renamed" in captured.out
    assert "'epoch'" in captured.out
    imported = load_supernet("net")
    assert imported.space == space
    assert imported.trained_space == restrict(space, kernel_sizes=[5])
    assert torch.equal(imported.network.state_dict()["classifier.linear.bias"], supernet.state_dict()[
        "classifier.linear.bias"])  # fmt: skip
    ok(*next_command(captured.err))
    assert {k for s in read_subnet("subnet.json").subnet.stages for k in s.kernel_sizes} == {5}


def next_command(printed: str) -> list[str]:
    """The words of the proposed command."""
    (line,) = (line for line in printed.splitlines() if line.startswith("Next: "))
    return line.removeprefix("Next: ofa-tk ").split()


def test_weights_of_a_smaller_network_make_its_space(capsys: Captured) -> None:
    trained = restrict(BASE, depths=[1, 2], expand_ratios=[3, 4])
    torch.save(official_supernet_weights(Supernet(trained)), "small.pth")
    command = ["zoo", "import", "small.pth", "--space", BASE.name, "--resolutions", "8", "--out", "net"]
    assert run(command) == 1
    assert "'mobilenet-v3-compact' needs" in capsys.readouterr().err
    assert not Path("net").exists()
    ok(*command, "--depths", "1,2", "--expand-ratios", "3,4")
    assert load_supernet("net").space == trained
    assert run([*command, "--kernel-sizes", "5,9", "--force"]) == 1
    assert "kernel size 9 is not offered; mobilenet-v3-compact offers 3, 5" in capsys.readouterr().err


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network of the compact space in the official layout, at a size the space does not offer."""
    supernet = Supernet(BASE).eval()
    subnet = BASE.smallest(16)
    save_official_network(tmp_path / "published", extract(supernet, subnet), BASE, subnet)
    return Path("published")


def exported_size(file: str) -> int:
    return int(load_model(file).graph.input[0].type.tensor_type.shape.dim[-1].dim_value)


def test_a_published_network_works_where_a_supernet_does(network: Path, capsys: Captured) -> None:
    name = "imported"
    ok("zoo", "import", network, "--out", name)
    ok("export", "--supernet", name, "--target", "onnxruntime-cpu", "--onnx")
    assert exported_size("subnet.onnx") == 16
    ok("verify", "subnet.onnx")
    ok("export", "--supernet", name, "--target", "onnxruntime-cpu", "--onnx", "b.onnx", "--resolution", 24)
    assert exported_size("b.onnx") == 24
    ok("search", "--supernet", name, "--maximize", "macs", "--macs", "1G", "--out", "only.json")
    ok("finetune", "--supernet", name, "--data", IMAGES, "--epochs", 1, "--out", "tuned")
    ok("finetune", "--supernet", name, "--resolution", 24, "--data", IMAGES, "--epochs", 1, "--out", "larger")
    ok("export", "--subnet", "larger/subnet.json", "--target", "onnxruntime-cpu", "--onnx", "c.onnx")
    assert exported_size("c.onnx") == 24
    capsys.readouterr()
    ok("evaluate", "--supernet", name, "--data", IMAGES, "--json")
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["name"], result["resolution"]) == ("network", 16)
    assert result["accuracy"]["num_recalibration_images"] == 0
    ok("zoo", "package", name, "--name", "one", "--data", IMAGES, "--out", "one")
    figure = load_supernet("./one")
    assert figure.space.has_one_subnet
    assert "stored" in Path("one/card.toml").read_text()


def test_the_weights_beside_a_net_config_are_its_own(network: Path, capsys: Captured) -> None:
    ok("export", "--subnet", network / "net.config", "--target", "onnxruntime-cpu", "--onnx")
    assert exported_size("subnet.onnx") == 16
    (network / "run.config").unlink()
    ok("export", "--subnet", network, "--target", "onnxruntime-cpu", "--onnx", "b.onnx")
    assert exported_size("b.onnx") == 224
    assert "states no resolution: 224 pixels are assumed" in capsys.readouterr().err
    (network / "init").unlink()
    assert run(["export", "--subnet", str(network), "--target", "onnxruntime-cpu", "--onnx", "c.onnx"]) == 1
    assert "does not say which supernet" in capsys.readouterr().err


def test_what_is_no_network_is_told(network: Path, capsys: Captured) -> None:
    Path("empty").mkdir()
    for command, message in {
        ("empty", "--out", "x"): "holds no network (net.config and init); it holds no files",
        (network, "--out", "x", "--kernel-sizes", "3"): "--kernel-sizes is for supernets",
        (network, "--out", "x", "--resolutions", "16,32"): "it has one resolution, not several",
        (network, "--out", "x", "--space", "ofa-resnet50"): "is no subnet of 'ofa-resnet50'",
        (network / "init", "--out", "empty/x", "--resolutions", "0"): "out of range",
        ("missing.pth", "--out", "x", "--space", BASE.name): "No checkpoint at 'missing.pth'",
        ("missing.pth", "--out", "x"): "does not say which search space",
    }.items():
        assert run(["zoo", "import", *map(str, command)]) == 1
        assert message in capsys.readouterr().err
    assert not Path("x").exists()
    ok("zoo", "import", network, "--out", "net", "--space", BASE.name, "--resolutions", "32")
    assert load_supernet("net").space.resolutions == (32,)
    assert run(["zoo", "import", "net", "--out", "x"]) == 1
    assert "is a supernet folder already" in capsys.readouterr().err


def test_the_file_of_a_space_takes_part_in_a_search(capsys: Captured) -> None:
    part: SearchSpace = restrict(BASE, kernel_sizes=[3])
    save_supernet("net", Supernet(BASE))
    Path("part.toml").write_text(dumps_space(part))
    search = ["search", "--supernet", "net", "--maximize", "macs", "--macs", "1M", "--force"]
    ok(*search, "--space", "part.toml")
    assert read_subnet("subnet.json").subnet in part
    ok(*search, "--space", BASE.name)
    assert run([*search, "--space", "ofa-resnet50"]) == 1
    assert "is of space 'mobilenet-v3-compact', not of 'ofa-resnet50'" in capsys.readouterr().err

"""What revision 4db9f9d wrote is read: supernet folder, run, checkpoint, subnets, front, device, card."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
import torch

from ofa_toolkit.latency.device import read_device
from ofa_toolkit.pipelines.search.front_file import read_front
from ofa_toolkit.pipelines.training.run import train
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.training import run_folder
from ofa_toolkit.training.metrics import read_metrics
from ofa_toolkit.zoo.card import read_card
from ofa_toolkit.zoo.supernet import load_supernet
from tests.integration.small_runs import Recorder

FILES = Path(__file__).parents[1] / "fixtures" / "written_by_4db9f9d"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The run with its tensors unpacked."""
    run = tmp_path / "run"
    shutil.copytree(FILES / "run", run)
    for packed in run.rglob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    return run


def test_a_supernet_folder(folder: Path) -> None:
    supernet = load_supernet(folder)
    assert supernet.class_names == ("wave 0", "wave 1", "wave 2", "wave 3")
    assert (supernet.space.num_classes, supernet.space.resolutions) == (4, (32,))
    assert {stage.depths for stage in supernet.trained_space.stages} == {(1,)}
    assert supernet.preprocessing is not None
    assert supernet.preprocessing["interpolation"] == "bilinear"
    network = supernet.extract(supernet.trained_space.largest(), keep_batchnorm=True)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 4)


def test_a_run_goes_on_from_its_checkpoint(folder: Path) -> None:
    config = run_folder.read_config(folder)
    assert config.training.epochs == 2
    assert run_folder.read_summary(folder)["updates"] == 8
    assert sum(row["kind"] == "step" for row in read_metrics(folder / "metrics.jsonl")) == 8
    recorder = Recorder()
    result = train(config, folder, resume=True, device="cpu", threads=1, reporter=recorder)
    assert result.resumed_from == "step-000000006.pt"
    assert len(recorder.losses) == 2
    assert run_folder.read_summary(folder)["updates"] == 8


def test_subnets_and_a_front() -> None:
    found = read_subnet(FILES / "found.json")
    assert found.supernet == "deps-compact-cifar10"
    assert found.predicted["macs"]["value"] <= 20_000_000
    assert read_subnet(FILES / "imagenet_subnet.json").subnet.resolution == 208
    front = read_front(FILES / "front.json")
    assert (front["space"], len(front["members"])) == ("mobilenet-v3-compact", 4)


def test_a_device_and_a_card() -> None:
    device = read_device(FILES / "a40")
    assert [variant.name for variant in device.variants] == ["transfer-pytorch-fp32-64"]
    card = read_card(FILES / "card" / "card.toml")
    assert card.name == "deps-compact-cifar10"

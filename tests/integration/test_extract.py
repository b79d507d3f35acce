"""`ofa-tk extract`: the folder it writes runs with torch alone and computes what the supernet does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from ofa_tk.app import cli
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
from ofa_toolkit.supernets import Supernet, network_from_config, save_supernet
from ofa_toolkit.supernets.importing.checkpoint_file import read_weights

SPACE = get_space("mobilenet-v3-compact").with_num_classes(3)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supernet:
    """An empty folder with a subnet.json that names a supernet beside it."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    supernet = Supernet(SPACE).eval()
    save_supernet("supernet", supernet, class_names=["a", "b", "c"])
    described = SubnetFile(space=SPACE, supernet="supernet", subnet=SPACE.smallest())
    write_subnet("subnet.json", described)
    return supernet


def test_a_torch_program_that_needs_nothing_of_ours(workplace: Supernet) -> None:
    result = CliRunner().invoke(cli, ["extract", "--keep-batchnorm", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["files"] == ["model.safetensors", "network.json", "network.pt2"]
    assert document["batchnorm"]["kind"] == "stored"
    network = torch.export.load("network/network.pt2").module()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(images), workplace(images, SPACE.smallest()), rtol=1e-4, atol=1e-5)
    assert json.loads(Path("network/network.json").read_text())["class_names"] == ["a", "b", "c"]


def test_the_official_layout(workplace: Supernet) -> None:
    result = CliRunner().invoke(cli, ["extract", "--keep-batchnorm", "--layout", "official", "--out", "net"])
    assert result.exit_code == 0, result.output
    network = network_from_config("net/net.config", weights=read_weights("net/init"), resolution=32)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(images), workplace(images, SPACE.smallest()), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("workplace")
def test_statistics_that_fit_no_subnet_are_never_taken_in_silence() -> None:
    result = CliRunner().invoke(cli, ["extract"], standalone_mode=False)
    assert result.exception is not None
    assert str(result.exception).endswith("from: it carries no images.")
    assert not Path("network").exists()


@pytest.mark.usefixtures("workplace")
def test_what_a_supernet_carries_says_nothing_of_other_sizes() -> None:
    words = ["extract", "--supernet", "deps-compact-cifar10", "--resolution"]
    other = CliRunner().invoke(cli, [*words, "40"], standalone_mode=False)
    assert str(other.exception).endswith("its images are for 32 pixels, not for 40.")
    tiny = CliRunner().invoke(cli, [*words, "4"], standalone_mode=False)
    assert "4 pixels are too few for mobilenet-v3-compact" in str(tiny.exception)
    assert not Path("network").exists()


@pytest.mark.usefixtures("workplace")
def test_a_folder_of_somebody_else_is_left_alone() -> None:
    Path("network").mkdir()
    Path("network/diary.txt").write_text("dear")
    result = CliRunner().invoke(cli, ["extract", "--keep-batchnorm"], standalone_mode=False)
    assert "holds files" in str(result.exception)
    assert [path.name for path in Path("network").iterdir()] == ["diary.txt"]
    assert Path("network/diary.txt").read_text() == "dear"

"""Networks and checkpoints in the once-for-all repositories' layouts, old and new naming."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ofa_toolkit.core.errors import CheckpointError, ExportError, FileFormatError, MismatchError
from ofa_toolkit.spaces import get_space
from ofa_toolkit.supernets import Supernet, extract, load_official_checkpoint, network_from_config
from ofa_toolkit.supernets.importing.checkpoint_file import read_weights
from ofa_toolkit.supernets.importing.official_checkpoints import (
    official_subnet_weights,
    official_supernet_weights,
)
from ofa_toolkit.supernets.importing.official_config import official_config, save_official_network

SPACE = get_space("mobilenet-v3-compact").with_num_classes(3)


def older(name: str) -> str:
    """A modern official name in the spelling of files from before 2020."""
    return name.replace(".conv.", ".mobile_inverted_conv.", 1) if name.startswith("blocks.") else name


def older_config(config: dict[str, Any]) -> dict[str, Any]:
    """The same for a `net.config`."""
    blocks = [
        {
            "name": "MobileInvertedResidualBlock",
            "mobile_inverted_conv": {**block["conv"], "name": "MBInvertedConvLayer"},
            "shortcut": block["shortcut"],
        }
        for block in config["blocks"]
    ]
    return {**config, "blocks": blocks}


def images() -> Tensor:
    """Seeded noise."""
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("is_old", [False, True])
def test_a_saved_network_loads_in_both_namings(tmp_path: Path, is_old: bool) -> None:
    torch.manual_seed(0)
    network = extract(Supernet(SPACE).eval(), SPACE.smallest())
    save_official_network(tmp_path, network, SPACE, SPACE.smallest())
    config = json.loads((tmp_path / "net.config").read_text())
    weights = read_weights(tmp_path / "init")
    if is_old:
        config, weights = older_config(config), {older(name): tensor for name, tensor in weights.items()}
    loaded = network_from_config(config, weights=weights, resolution=32)
    torch.testing.assert_close(loaded(images()), network(images()), rtol=0, atol=0)


def test_a_resnet_config_loads(tmp_path: Path) -> None:
    conv = {"name": "ConvLayer", "stride": 1, "groups": 1, "bias": False, "use_bn": True, "act_func": "relu"}
    block = {"name": "ResNetBottleneckBlock", "kernel_size": 3, "expand_ratio": 0.25, "act_func": "relu"}
    config = {
        "name": "ResNets",
        "bn": {"eps": 1e-5},
        "input_stem": [
            {**conv, "out_channels": 8, "kernel_size": 3, "stride": 2},
            {
                "name": "ResidualBlock",
                "conv": {**conv, "out_channels": 8, "kernel_size": 3},
                "shortcut": {"name": "IdentityLayer"},
            },
        ],
        "blocks": [
            {**block, "in_channels": 8, "out_channels": 32, "mid_channels": None, "stride": 2, "groups": 1},
            {**block, "in_channels": 32, "out_channels": 32, "mid_channels": 16, "stride": 1, "groups": 1},
        ],
        "classifier": {"name": "LinearLayer", "out_features": 3},
    }
    path = tmp_path / "net.config"
    path.write_text(json.dumps(config))
    network = network_from_config(path, resolution=33)
    assert network(torch.zeros(1, 3, 33, 33)).shape == (1, 3)
    names = set(network.state_dict())
    assert {"blocks.0.downsample.conv.weight", "input_stem.1.conv.weight"} <= names
    assert "blocks.1.downsample.conv.weight" not in names
    # There the convolution of the residual stem has a block around it; all else is called as here.
    weights = {
        name.replace("input_stem.1.", "input_stem.1.conv."): torch.rand_like(tensor)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    loaded = network_from_config(path, weights=weights, resolution=33).state_dict()
    assert not network_from_config(path).training
    for name, tensor in weights.items():
        assert torch.equal(loaded[name.replace("input_stem.1.conv.", "input_stem.1.")], tensor), name


@pytest.mark.parametrize("is_old", [False, True])
def test_a_supernet_checkpoint_loads_in_both_namings(tmp_path: Path, is_old: bool) -> None:
    torch.manual_seed(0)
    supernet = Supernet(SPACE, use_kernel_transforms=True).eval()
    weights = official_supernet_weights(supernet)
    if is_old:
        weights = {f"module.{older(name)}": tensor for name, tensor in weights.items()}
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "model.pth.tar")
    loaded = load_official_checkpoint(tmp_path / "model.pth.tar", get_space("mobilenet-v3-compact"))
    assert loaded.space.num_classes == 3
    assert loaded.use_kernel_transforms
    torch.testing.assert_close(
        loaded(images(), SPACE.smallest()), supernet(images(), SPACE.smallest()), rtol=0, atol=0
    )


def test_a_checkpoint_of_another_space_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(official_supernet_weights(Supernet(SPACE)), path)
    with pytest.raises(MismatchError, match="deps-mobilenet-v3-cifar"):
        load_official_checkpoint(path, get_space("deps-mobilenet-v3-cifar"))


def test_a_missing_or_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No checkpoint"):
        read_weights(tmp_path / "none.pt")
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"model\.pt"):
        read_weights(path)


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps({"state_dict": Hostile()}, protocol=2))
    with pytest.raises(CheckpointError, match="could run code"):
        read_weights(path)
    assert not (tmp_path / "ran").exists()


BAD_BLOCKS = [{"conv": {"name": "MBConvLayer"}}]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "DenseNet"}, "DenseNet"),
        ({"name": "MobileNetV3"}, "malformed"),
        (
            {**official_config(SPACE, SPACE.smallest()), "blocks": [{"conv": {"name": "MBConvLayer"}}]},
            "malformed",
        ),
    ],
)
def test_a_bad_config_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        network_from_config(config)


def test_weights_that_do_not_fit_are_named() -> None:
    config = official_config(SPACE, SPACE.smallest())
    weights = official_subnet_weights(extract(Supernet(SPACE), SPACE.smallest()), SPACE, SPACE.smallest())
    name = "blocks.1.conv.depth_conv.bn.running_var"
    for changed, message in (
        ({"other": torch.zeros(1)}, r"lack 'first_conv\.conv\.weight'"),
        ({n: tensor for n, tensor in weights.items() if n != name}, f"lack '{name}'"),
        ({**weights, name: weights[name][:-1]}, f"have another shape for '{name}'"),
        ({**weights, "more": torch.zeros(1)}, "hold 'more', which the net.config does not have"),
    ):
        with pytest.raises(MismatchError, match=message):
            network_from_config(config, weights=changed)


def test_resnet_has_no_net_config() -> None:
    space = get_space("ofa-resnet50")
    with pytest.raises(ExportError, match="ofa-resnet50"):
        official_config(space, space.smallest())

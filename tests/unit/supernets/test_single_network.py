"""A published network as a supernet with a single subnet: the same layers, the same outputs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from ofa_toolkit.core.errors import CheckpointError, FileFormatError, MismatchError
from ofa_toolkit.spaces import get_space, lower, sample_subnets
from ofa_toolkit.spaces.network_config import layers_from_config
from ofa_toolkit.spaces.single_network import anonymous, member_of, single_network_space
from ofa_toolkit.supernets import Supernet, extract, network_from_config
from ofa_toolkit.supernets.importing.official_checkpoints import official_subnet_weights
from ofa_toolkit.supernets.importing.official_config import official_config
from ofa_toolkit.supernets.importing.single_network import single_network_supernet

COMPACT = get_space("mobilenet-v3-compact")
RESNET = get_space("ofa-resnet50")


def resnet_config(kept_stem: bool, blocks: list[tuple[int, int, float]]) -> dict[str, Any]:
    """A ResNet in the official format, from `(width, stride, ratio)` of each block."""
    conv = {
        "name": "ConvLayer",
        "kernel_size": 3,
        "groups": 1,
        "bias": False,
        "use_bn": True,
        "act_func": "relu",
    }
    stem = [{**conv, "out_channels": 24, "stride": 2}]
    if kept_stem:
        residual = {**conv, "out_channels": 24, "stride": 1}
        stem.append({"name": "ResidualBlock", "conv": residual, "shortcut": {"name": "IdentityLayer"}})
    stem.append({**conv, "out_channels": 40, "stride": 1})
    return {
        "name": "ResNets",
        "bn": {"momentum": 0.1, "eps": 1e-5},
        "input_stem": stem,
        "blocks": [
            {
                "name": "ResNetBottleneckBlock",
                "out_channels": width,
                "kernel_size": 3,
                "stride": stride,
                "expand_ratio": ratio,
                "mid_channels": None,
                "act_func": "relu",
                "groups": 1,
                "downsample_mode": "avgpool_conv",
            }
            for width, stride, ratio in blocks
        ],
        "classifier": {"name": "LinearLayer", "out_features": 3},
    }


@pytest.mark.parametrize("kept_stem", [False, True])
def test_a_resnet_is_one_of_its_space(kept_stem: bool) -> None:
    blocks = [(168, 1, 0.2), (168, 1, 0.35), (336, 2, 0.25), (336, 1, 0.2), *[(664, 2 if i == 0 else 1, 0.2)
              for i in range(4)], (1328, 2, 0.35), (1328, 1, 0.2)]  # fmt: skip
    config = resnet_config(kept_stem, blocks)
    space = single_network_space(config, 64)
    assert space.has_one_subnet
    assert anonymous(lower(space, space.largest())) == anonymous(layers_from_config(config, resolution=64))
    subnet = member_of(RESNET, space)
    assert subnet is not None
    assert subnet.stages[0].depth == (2 if kept_stem else 1)
    assert [stage.width for stage in subnet.stages] == [24, 40, 168, 336, 664, 1328]
    assert subnet.stages[2].expand_ratios == (0.2, 0.35)
    network = network_from_config(config, resolution=64)
    supernet = single_network_supernet(config, _official(config, network), 64)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(supernet(images, space.largest()), network(images), rtol=0, atol=1e-6)


def _official(config: dict[str, Any], network: torch.nn.Module) -> dict[str, torch.Tensor]:
    from ofa_toolkit.supernets.importing.official_networks import _official_names

    names = dict(_official_names(layers_from_config(config, resolution=64)))
    return {names[name]: tensor for name, tensor in network.state_dict().items()}


def test_a_mobilenet_is_one_of_its_space_and_computes_the_same() -> None:
    torch.manual_seed(0)
    supernet = Supernet(COMPACT).eval()
    for subnet in sample_subnets(COMPACT, 2, np.random.default_rng(1)):
        network = extract(supernet, subnet).eval()
        config = json.loads(json.dumps(official_config(COMPACT, subnet)))
        weights = official_subnet_weights(network, COMPACT, subnet)
        without = {name: t for name, t in weights.items() if not name.endswith("num_batches_tracked")}
        single = single_network_supernet(config, without, 32)
        assert member_of(COMPACT, single.space) == subnet
        assert member_of(get_space("ofa-mobilenet-v3-w1.0"), single.space) is None
        images = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(single(images, single.space.largest()), network(images), rtol=0, atol=1e-6)
        with pytest.raises(MismatchError, match=r"hold 'blocks\.77\.x'"):
            single_network_supernet(config, {**weights, "blocks.77.x": torch.ones(1)}, 32)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("blocks", 3, "shortcut"), "flip", "another layer"),
        (("blocks", 0, "conv", "kernel_size"), 5, "another layer"),
        (("blocks", 2, "conv", "kernel_size"), 4, "4 is even"),
        (("blocks", 2, "conv", "mid_channels"), 20, "another layer"),
        (("blocks", 2, "conv", "stride"), 0, "malformed"),
        (("blocks", 2, "conv", "kernel_size"), "3", "malformed"),
        (("blocks", 2, "conv"), 7, "malformed"),
        (("blocks",), {"a": 1}, "malformed"),
        (("classifier", "out_features"), 1e30, "malformed"),
        (("first_conv", "groups"), None, "malformed"),
        (("name",), "DenseNet", "DenseNet"),
        (("first_conv",), "missing", "lacks 'first_conv'"),
    ],
)
def test_what_no_space_can_hold_is_refused(place: tuple[Any, ...], value: Any, message: str) -> None:
    config = json.loads(json.dumps(official_config(COMPACT, COMPACT.largest())))
    *path, last = place
    inner: Any = config
    for key in path:
        inner = inner[key]
    if value == "missing":
        del inner[last]
    else:
        inner[last] = (None if inner[last] else {"name": "IdentityLayer"}) if value == "flip" else value
    with pytest.raises(FileFormatError, match=message):
        single_network_space(config, 32)


@pytest.mark.parametrize(
    ("norm", "momentum"),
    [
        ({"momentum": 0.25, "eps": 1e-5}, 0.25),
        ({"momentum": 0.0, "eps": 1e-5}, 0.1),
        ({"momentum": 1, "eps": 1e-5}, 0.1),
        ({"eps": 1e-5}, 0.1),
        ({}, 0.1),
    ],
)
def test_the_momentum_of_batch_norm(norm: dict[str, Any], momentum: float) -> None:
    config = {**official_config(COMPACT, COMPACT.smallest()), "bn": norm}
    network = extract(Supernet(COMPACT).eval(), COMPACT.smallest())
    weights = official_subnet_weights(network, COMPACT, COMPACT.smallest())
    single = single_network_supernet(config, weights, 32)
    assert single.bn_momentum == momentum
    assert not single.training
    first = next(name for name in weights if name.endswith("bn.bias"))
    weights[first] = weights[first] * float("nan")
    with pytest.raises(CheckpointError, match=r"The weights of '.*\.bias' are not finite"):
        single_network_supernet(config, weights, 32)

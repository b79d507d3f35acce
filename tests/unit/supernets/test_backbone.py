"""A subnet without its classifier, as torchvision's feature pyramid and SSDlite take it."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.detection import ssd, ssdlite
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.ops import FeaturePyramidNetwork

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.pipelines.export.extract import extract_network
from ofa_toolkit.spaces import SPACES, SearchSpace, get_space, lower
from ofa_toolkit.supernets import Supernet, backbone, extract, save_supernet
from ofa_toolkit.supernets.backbone import feature_layers, without_head

SPACE = get_space("efficientnet-lite0").with_num_classes(3)
SUBNET = SPACE.smallest(96)


def made() -> tuple[nn.Module, dict[str, int]]:
    torch.manual_seed(0)
    layers = lower(SPACE, SUBNET)
    body = backbone(extract(Supernet(SPACE), SUBNET), layers)
    return body, {str(stride): layer.out_channels for stride, layer in feature_layers(layers).items()}


@pytest.mark.parametrize("name", [name for name in SPACES if max(get_space(name).resolutions) >= 128])
def test_every_space_of_photos_has_the_three_maps(name: str) -> None:
    space: SearchSpace = get_space(name)
    for subnet in (space.smallest(), space.largest()):
        found = feature_layers(lower(space, subnet))
        assert list(found) == [8, 16, 32]
        for stride, layer in found.items():
            assert layer.out_size == -(-subnet.resolution // stride)
            assert layer.kind in ("add", "conv", "activation")
        assert without_head(lower(space, subnet))[-1] == found[32]


def test_maps_are_those_inside_the_network() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SPACE).eval()
    network = extract(supernet, SUBNET)
    layers = lower(SPACE, SUBNET)
    images = torch.randn(2, 3, 96, 96)
    maps = backbone(network, layers)(images)
    assert {name: tuple(value.shape[2:]) for name, value in maps.items()} == {
        "8": (12, 12),
        "16": (6, 6),
        "32": (3, 3),
    }
    rest = layers[len(without_head(layers)) :]
    with torch.no_grad():
        last = feature_layers(layers)[32].name
        outputs = supernet.run_part(rest, {last: maps["32"]}, {rest[-1].name})
    torch.testing.assert_close(outputs[rest[-1].name], network(images))


def test_extracted_networks_and_their_copies_give_their_maps() -> None:
    torch.manual_seed(0)
    network = extract(Supernet(SPACE).eval(), SUBNET)
    images = torch.randn(2, 3, 96, 96)
    expected = backbone(network, lower(SPACE, SUBNET))(images)
    for each in (network, copy.deepcopy(network)):
        found = each.features(images)
        assert list(found) == ["8", "16", "32"]
        for stride, value in found.items():
            assert torch.equal(value, expected[stride])
    sum(value.square().mean() for value in network.features(images, (4, 8)).values()).backward()
    late = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert any(name.startswith("classifier") for name in late), "the network ran on behind its last map"
    with pytest.raises(ConfigError, match="no map of stride 64; it has 4, 8, 16, 32"):
        network.features(images, (64,))


def test_a_space_of_small_pictures_says_which_maps_it_has() -> None:
    space = get_space("mobilenet-v3-compact")
    with pytest.raises(ConfigError, match="no map of stride 16; it has 2, 4, 8") as caught:
        feature_layers(lower(space, space.smallest()))
    assert "strides=(2, 4, 8)" in str(caught.value.hint)


def test_a_feature_pyramid_trains_on_it() -> None:
    body, channels = made()
    pyramid = FeaturePyramidNetwork(list(channels.values()), 16)
    maps = pyramid(OrderedDict(body.train()(torch.randn(2, 3, 96, 96))))
    assert {name: value.shape[1] for name, value in maps.items()} == {"8": 16, "16": 16, "32": 16}
    sum(value.square().mean() for value in maps.values()).backward()
    assert all(parameter.grad is not None for parameter in body.parameters())


def test_ssdlite_takes_a_training_step_on_it() -> None:
    body, channels = made()
    anchors = DefaultBoxGenerator([[2, 3]] * 3, min_ratio=0.2, max_ratio=0.95)
    norm = nn.BatchNorm2d
    head = ssdlite.SSDLiteHead(list(channels.values()), anchors.num_anchors_per_location(), 4, norm)
    detector = ssd.SSD(
        body, anchors, (96, 96), 4, head=head, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).train()
    boxes = torch.tensor([[5.0, 5.0, 40.0, 40.0]])
    targets = [{"boxes": boxes, "labels": torch.tensor([label])} for label in (1, 2)]
    losses = detector([torch.rand(3, 96, 96), torch.rand(3, 96, 96)], targets)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(parameter.grad is not None for parameter in body.parameters())
    detector.eval()
    assert set(detector([torch.rand(3, 96, 96)])[0]) == {"boxes", "scores", "labels"}


@pytest.mark.slow
def test_the_command_writes_a_program_with_the_maps(tmp_path: Path) -> None:
    settings = {"size": 96, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "crop": 1.0}
    save_supernet(tmp_path / "net", Supernet(SPACE), class_names=list("abc"), preprocessing=settings)
    folder = tmp_path / "body"
    found = extract_network(
        SUBNET, folder, supernet=str(tmp_path / "net"), keep_batchnorm=True, features=True
    )
    whole = extract_network(SUBNET, tmp_path / "whole", supernet=str(tmp_path / "net"), keep_batchnorm=True)
    assert found.macs < whole.macs
    maps = torch.export.load(folder / "network.pt2").module()(torch.randn(3, 3, 96, 96))
    stated = json.loads((folder / "network.json").read_text())["features"]
    assert {name: value.shape[1] for name, value in maps.items()} == {
        name: entry["channels"] for name, entry in stated.items()
    }
    with pytest.raises(ConfigError, match="layout 'official' holds whole networks"):
        extract_network(
            SUBNET, tmp_path / "x", supernet=str(tmp_path / "net"), layout="official", features=True
        )

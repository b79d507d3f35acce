"""Standard networks have the layers of torchvision's and of the Keras networks that were measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision

from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.core.errors import UnknownNameError
from ofa_toolkit.latency.measuring.standard_networks import (
    _efficientnet,
    _mnasnet,
    _mobilenet_v2,
    _mobilenet_v3,
    standard_network,
    standard_network_names,
)
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.mobilenet_v3 import LARGE_ROWS, SMALL_ROWS

TORCHVISION = {
    "mobilenet-v2-1.0": "mobilenet_v2",
    "mobilenet-v3-large": "mobilenet_v3_large",
    "mobilenet-v3-small": "mobilenet_v3_small",
    "mnasnet-0.5": "mnasnet0_5",
    "mnasnet-0.75": "mnasnet0_75",
    "mnasnet-1.0": "mnasnet1_0",
    "mnasnet-1.3": "mnasnet1_3",
    "efficientnet-b0": "efficientnet_b0",
    "efficientnet-b1": "efficientnet_b1",
    "efficientnet-b2": "efficientnet_b2",
    "efficientnet-b3": "efficientnet_b3",
    "efficientnet-b4": "efficientnet_b4",
    "efficientnet-b5": "efficientnet_b5",
    "efficientnet-b6": "efficientnet_b6",
    "resnet-18": "resnet18",
    "resnet-34": "resnet34",
    "resnet-50": "resnet50",
    "resnet-101": "resnet101",
    "resnet-152": "resnet152",
}


# Weights and biases of convolutions, of dense layers, and four values a batch-norm channel, as the source of
# the Jetson measurements states them (github.com/HalimaBouzidi/perf_prediction, MIT).
KERAS = {
    "mobilenet-v1-0.25": (464600, 0, 10944),
    "mobilenet-v1-1.0": (4210088, 0, 43776),
    "mobilenet-v2-0.35": (382048, 1281000, 28160),
    "mobilenet-v2-1.4": (4267840, 1793000, 95872),
    "mobilenet-v3-large-1.0-keras": (None, 6029616, 48864),
    "mobilenet-v3-small-0.75-keras": (None, 1817200, 23720),
    "mobilenet-v3-small-1.5-keras": (None, 1817200, 25424),
    "mnasnet-0.35-keras": (393696, 401000, 26432),
    "mnasnet-1.4-keras": (5932808, 1617000, 106240),
    "efficientnet-b0": (None, 1281000, 84032),
    "efficientnet-b3": (None, 1537000, 174592),
}


@pytest.mark.parametrize(("name", "model"), TORCHVISION.items())
def test_parameters_are_those_of_torchvision(name: str, model: str) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(model, weights=None)
    expected = sum(parameter.numel() for parameter in network.parameters())
    assert count_params(standard_network(name, 224)) == expected


@pytest.mark.parametrize(
    ("make", "resolution", "num_params", "billion_macs"),
    [
        (lambda: _mobilenet_v3(LARGE_ROWS, 1280, is_keras=False), 224, 5483032, 0.217),
        (lambda: _mobilenet_v3(SMALL_ROWS, 1024, is_keras=False), 224, 2542856, 0.057),
        (lambda: _efficientnet(1.0, 1.0), 224, 5288548, 0.386),
        (lambda: _efficientnet(1.2, 1.4), 300, 12233232, 1.827),
        (lambda: _efficientnet(1.6, 2.2), 456, 30389784, 10.266),
        (lambda: _mobilenet_v2(1.0), 224, 3504872, 0.301),
        (lambda: _mnasnet(1280, "relu", 1.3), 224, 6282256, 0.526),
    ],
)
def test_networks_of_the_figures_that_torchvision_publishes(
    make: Callable[[], Any], resolution: int, num_params: int, billion_macs: float
) -> None:
    builder = LayerBuilder(1e-5)
    make()(builder, Flow("input", 3, resolution), 1000)
    assert count_params(builder.layers) == num_params
    assert count_macs(builder.layers) / 1e9 == pytest.approx(billion_macs, abs=6e-4)


@pytest.mark.parametrize(("name", "model"), TORCHVISION.items())
def test_macs_are_those_torchvision_states(name: str, model: str) -> None:
    weights = torchvision.models.get_model_weights(model).IMAGENET1K_V1
    layers = standard_network(name, weights.transforms().crop_size[0])
    assert count_macs(layers) / 1e9 == pytest.approx(weights.meta["_ops"], abs=6e-4)


# Howard et al. 2017, table 6, and the widths of MobileNetV2 in github.com/tensorflow/models (slim).
MILLION_MACS = {
    "mobilenet-v1": {"1.0": 569, "0.75": 325, "0.5": 149, "0.25": 41},
    "mobilenet-v2": {"1.4": 582, "1.3": 509, "1.0": 300, "0.75": 209, "0.5": 97, "0.35": 59},
}


@pytest.mark.parametrize("family", MILLION_MACS)
def test_macs_of_other_widths_are_the_published_ones(family: str) -> None:
    found = {
        name.removeprefix(f"{family}-"): count_macs(standard_network(name, 224)) / 1e6
        for name in standard_network_names()
        if name.startswith(f"{family}-")
    }
    assert found == pytest.approx(MILLION_MACS[family], abs=1.0)


def test_every_network_halves_the_image_five_times() -> None:
    names = standard_network_names()
    assert {*TORCHVISION, "mobilenet-v3-large-1.0-keras", "mnasnet-1.4-keras"} <= set(names)
    for name in names:
        layers = {layer.name: layer for layer in standard_network(name, 224)}
        assert (layers["stem.conv"].out_size, layers["head.pool"].in_size) == (112, 7), name


@pytest.mark.parametrize(("name", "expected"), KERAS.items())
def test_parameters_are_those_of_the_measured_keras_networks(
    name: str, expected: tuple[int | None, int, int]
) -> None:
    layers = standard_network(name, 224)
    convolutions, dense, norms = expected
    squeeze = [layer for layer in layers if ".se." in layer.name and layer.kind == "conv"]
    is_full_width = name.endswith("-keras") and "v3" in name
    in_dense = [layer for layer in layers if layer.kind == "linear"] + (squeeze if is_full_width else [])
    assert sum(4 * layer.out_channels for layer in layers if layer.batch_norm) == norms
    assert sum((layer.in_channels + 1) * layer.out_channels for layer in in_dense) == dense
    if convolutions is not None:
        weights = sum(
            layer.kernel_size**2 * layer.in_channels // layer.groups * layer.out_channels
            + layer.out_channels * layer.bias
            for layer in layers
            if layer.kind == "conv"
        )
        assert weights == convolutions


def test_every_name_builds_a_connected_network() -> None:
    for name in standard_network_names():
        layers = standard_network(name, 64)
        known = {"input"}
        for layer in layers:
            assert set(layer.inputs) <= known, (name, layer.name)
            known.add(layer.name)
        assert len(known) == len(layers) + 1, name


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as raised:
        standard_network("mobilenet-v2", 224)
    assert "mobilenet-v2-" in (raised.value.hint or "")

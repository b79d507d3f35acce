"""Our networks against the public reference implementations, for weights that are functions of their names.

Tolerance: 5e-5 of the largest |logit|. The same torch reproduces the references bit for bit, other
convolution kernels differ by up to 1.5e-5; a forgotten kernel matrix moves logits by more than 5e-2.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import pytest
import torch

from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.spaces import Subnet, get_space, lower
from ofa_toolkit.spaces.official_architectures import from_official, to_official
from ofa_toolkit.supernets import Supernet, extract, recalibrate_batchnorm, sort_channels
from ofa_toolkit.supernets.importing.official_checkpoints import (
    official_subnet_weights,
    official_supernet_weights,
    supernet_from_official,
)
from ofa_toolkit.supernets.importing.official_config import official_config
from tests.golden.generated_values import images, reference_networks, value

NETWORKS = reference_networks()
TOLERANCE = 5e-5
WITH_LOGITS = [name for name, figures in NETWORKS.items() if "logits" in figures["subnets"][0]]


def reference_supernet(name: str) -> Supernet:
    """The supernet of a golden network with its generated weights."""
    space = get_space(name)
    num_classes = 100 if name == "deps-mobilenet-v3-cifar" else 1000
    has_matrices = space.stem is not None and name != "deps-mobilenet-v3-cifar"
    empty = Supernet(space.with_num_classes(num_classes), use_kernel_transforms=has_matrices)
    layout = official_supernet_weights(empty)
    generated = {key: torch.from_numpy(value(key, tuple(tensor.shape))) for key, tensor in layout.items()}
    return supernet_from_official(generated, space)


def layout_hash(weights: dict[str, torch.Tensor]) -> int:
    """Hash of the names and shapes of a state dictionary, in any order."""
    rows = sorted(f"{name} {'x'.join(map(str, t.shape)) or 'scalar'}" for name, t in weights.items())
    return zlib.crc32("\n".join(rows).encode())


def assert_matches(output: torch.Tensor, figures: dict[str, Any]) -> None:
    """Compare the first values of each row, and the largest."""
    scale = figures["abs_max"]
    expected = np.array(figures["first"])
    actual = output.detach().numpy().reshape(len(expected), -1)
    assert np.abs(actual[:, : expected.shape[1]] - expected).max() <= TOLERANCE * scale
    assert abs(np.abs(actual).max() - scale) <= TOLERANCE * scale


def subnets_of(name: str) -> list[tuple[Subnet, dict[str, Any]]]:
    """Golden subnets with their figures."""
    space = get_space(name)
    return [
        (from_official(space, f["architecture"], resolution=f["resolution"]), f)
        for f in NETWORKS[name]["subnets"]
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_macs_and_parameters_are_exact(name: str) -> None:
    space = get_space(name)
    num_classes = 100 if name == "deps-mobilenet-v3-cifar" else 1000
    for subnet, figures in subnets_of(name):
        layers = lower(space.with_num_classes(num_classes), subnet)
        assert count_macs(layers) == figures["macs"]
        assert count_params(layers) == figures["params"]


@pytest.mark.parametrize("name", NETWORKS)
def test_official_architectures_survive_a_round_trip(name: str) -> None:
    space = get_space(name)
    for subnet, _ in subnets_of(name):
        assert from_official(space, to_official(space, subnet)) == subnet


@pytest.mark.parametrize("name", NETWORKS)
def test_checkpoint_layout_is_the_official_one(name: str) -> None:
    supernet = reference_supernet(name)
    weights = official_supernet_weights(supernet)
    assert len(weights) == NETWORKS[name]["num_keys"]
    assert sum(parameter.numel() for parameter in supernet.parameters()) == NETWORKS[name]["num_params"]
    assert layout_hash(weights) == NETWORKS[name]["layout_crc32"]


@pytest.mark.parametrize("name", WITH_LOGITS)
def test_logits_and_extracted_layout(name: str) -> None:
    supernet = reference_supernet(name)
    for subnet, figures in subnets_of(name)[:3]:
        batch = torch.from_numpy(images(figures["logits"]["batch"], subnet.resolution))
        with torch.no_grad():
            assert_matches(supernet(batch, subnet), figures["logits"])
        network = extract(supernet, subnet)
        weights = official_subnet_weights(network, supernet.space, subnet)
        assert layout_hash(weights) == figures["subnet_layout_crc32"]


@pytest.mark.parametrize("name", WITH_LOGITS)
def test_net_config_is_the_official_one(name: str) -> None:
    space = get_space(name)
    for subnet, figures in subnets_of(name)[:3]:
        text = json.dumps(official_config(space, subnet), sort_keys=True)
        assert zlib.crc32(text.encode()) == figures["net_config_crc32"]


@pytest.mark.parametrize("name", WITH_LOGITS)
def test_recalibration_matches_the_reference(name: str) -> None:
    figures = NETWORKS[name]["recalibration"]
    supernet = reference_supernet(name)
    subnet = from_official(supernet.space, figures["architecture"], resolution=figures["resolution"])
    batches = [torch.from_numpy(images(n, subnet.resolution)) for n in figures["batches"]]
    used = recalibrate_batchnorm(supernet, batches, subnet=subnet, method="mean_of_batches")
    assert used == sum(figures["batches"])
    weights = official_supernet_weights(supernet)
    for key, expected in figures["statistics"].items():
        assert_matches(weights[key], expected)
    num_images = len(figures["logits"]["first"])
    with torch.no_grad():
        logits = supernet(torch.from_numpy(images(num_images, subnet.resolution)), subnet)
    assert_matches(logits, figures["logits"])


@pytest.mark.parametrize("name", WITH_LOGITS)
@pytest.mark.parametrize("protected_widths", [0, 1, 2])
def test_channel_sorting_matches_the_reference(name: str, protected_widths: int) -> None:
    figures = NETWORKS[name]["sorting"][protected_widths]
    recalibration = NETWORKS[name]["recalibration"]
    supernet = reference_supernet(name)
    resolution = recalibration["resolution"]
    subnet = from_official(supernet.space, recalibration["architecture"], resolution=resolution)
    moves = sort_channels(supernet, num_protected_widths=protected_widths)
    # The reference sorts each block's middle channels, then its squeeze-excite units.
    leading = ("project.conv.weight", "se.expand.conv.weight")
    orders = [move.order.numpy() for move in moves if move.dim == 1 and move.name.endswith(leading)]
    order_bytes = b"".join(order.astype("<i8").tobytes() for order in orders)
    assert zlib.crc32(order_bytes) == figures["order_crc32"]
    batch = torch.from_numpy(images(len(figures["largest_logits"]["first"]), resolution))
    with torch.no_grad():
        assert_matches(supernet(batch, supernet.space.largest(resolution)), figures["largest_logits"])
        assert_matches(supernet(batch, subnet), figures["subnet_logits"])

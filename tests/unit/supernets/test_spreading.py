"""Spreading a subnet's weights: every larger subnet begins as the same function."""

from __future__ import annotations

import copy

import pytest
import torch

from ofa_toolkit.core.rng import generator
from ofa_toolkit.spaces import get_space, sample_subnets
from ofa_toolkit.supernets import Supernet, extract
from ofa_toolkit.supernets.spreading import spread

SPACES = ("mobilenet-v3-compact", "efficientnet-lite0", "ofa-resnet50")


def trained(name: str) -> Supernet:
    """A supernet whose batch norm has scales, shifts and statistics as after training."""
    torch.manual_seed(0)
    supernet = Supernet(get_space(name).with_num_classes(5).with_resolutions((64,)))
    for tensor_name, tensor in supernet.state_dict().items():
        if ".bn." in tensor_name and tensor.is_floating_point():
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return supernet.eval()


@pytest.mark.parametrize("name", SPACES)
def test_the_subnet_stays_and_larger_ones_become_it(name: str) -> None:
    supernet = trained(name)
    space = supernet.space
    smallest = space.smallest()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = extract(supernet, smallest)(images)
        others = [space.largest(), *sample_subnets(space, 3, generator(0, "test"))]
        apart = [extract(supernet, subnet)(images) for subnet in others]
        spread(supernet, smallest)
        assert torch.equal(extract(supernet, smallest)(images), before)
        for subnet, was in zip(others, apart, strict=True):
            assert not torch.allclose(was, before, rtol=0.01)
            torch.testing.assert_close(extract(supernet, subnet)(images), before, rtol=1e-3, atol=1e-4)
        supernet.train()
        expected = supernet(images, smallest)
        for subnet in others:
            torch.testing.assert_close(supernet(images, subnet), expected, rtol=1e-3, atol=1e-3)


def test_channels_kernels_and_blocks_by_hand() -> None:
    supernet = trained("mobilenet-v3-compact")
    space = supernet.space
    subnet = space.smallest()
    old = copy.deepcopy(supernet.state_dict())
    spread(supernet, subnet)
    new = supernet.state_dict()
    at = "stages.0.0"
    ratios = space.stages[0].expand_ratios
    width = len(old[f"{at}.expand.conv.weight"])
    own = width * int(min(ratios)) // int(max(ratios))
    assert 0 < own < width
    for part in ("expand.conv.weight", "expand.bn.weight", "expand.bn.running_var", "depthwise.bn.bias"):
        tensor = new[f"{at}.{part}"]
        assert torch.equal(tensor[:own], old[f"{at}.{part}"][:own])
        assert torch.equal(tensor[own:], tensor[torch.arange(own, width) % own])
    assert not new[f"{at}.project.conv.weight"][:, own:].any()
    assert torch.equal(new[f"{at}.project.conv.weight"][:, :own], old[f"{at}.project.conv.weight"][:, :own])
    kernel = new[f"{at}.depthwise.conv.weight"]
    centre = old[f"{at}.depthwise.conv.weight"][:own, :, 1:-1, 1:-1]
    assert subnet.stages[0].kernel_sizes[0] == 3
    assert kernel.shape[-1] == 5
    assert torch.equal(kernel[:own, :, 1:-1, 1:-1], centre)
    assert kernel.abs().sum() == kernel[..., 1:-1, 1:-1].abs().sum()
    assert subnet.stages[0].depth == 1
    for block in (1, 2):
        assert not new[f"stages.0.{block}.project.bn.weight"].any()
        assert not new[f"stages.0.{block}.project.bn.bias"].any()
    # The second block has another shape than the first and keeps its start; the third has the second's.
    for part in ("expand.conv.weight", "project.conv.weight", "depthwise.bn.running_mean"):
        assert torch.equal(new[f"stages.0.1.{part}"], old[f"stages.0.1.{part}"])
        assert torch.equal(new[f"stages.0.2.{part}"], old[f"stages.0.1.{part}"])


def test_copies_part_as_soon_as_they_learn() -> None:
    supernet = trained("mobilenet-v3-compact").train()
    spread(supernet, supernet.space.smallest())
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    for _ in range(2):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(supernet(images, supernet.space.largest(32)), labels)
        loss.backward()
        optimizer.step()
    weight = supernet.state_dict()["stages.0.0.expand.conv.weight"]
    own = len(weight) // 2
    assert not torch.allclose(weight[own:], weight[:own])

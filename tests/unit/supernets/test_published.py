"""Published networks as the largest subnets of their spaces: the same weights compute the same."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import MismatchError
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.supernets import Supernet, extract, sort_channels
from ofa_toolkit.supernets.importing import timm_networks
from ofa_toolkit.supernets.importing.published import supernet_from_published
from ofa_toolkit.supernets.importing.timm_networks import timm_network
from ofa_toolkit.supernets.importing.torchvision_networks import SPACE_OF
from ofa_toolkit.supernets.module_counts import count_module

SIZE = 64


def published(name: str) -> nn.Module:
    """A network of torchvision's with seeded weights whose batch norms are not the identity."""
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.get_model(name, weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


@pytest.mark.parametrize("name", SPACE_OF)
def test_the_largest_subnet_is_torchvisions_network(name: str) -> None:
    network, space = published(name), get_space(SPACE_OF[name])
    supernet = supernet_from_published(network.state_dict(), space, source=name)
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected = network(images)
        assert_equal(supernet, images, expected)
        assert sort_channels(supernet)
        assert_equal(supernet, images, expected)
    macs = count_macs(lower(space, space.largest(SIZE)))
    assert macs == count_module(network, SIZE).macs


def assert_equal(supernet: Supernet, images: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest logit."""
    found = supernet(images, supernet.space.largest(SIZE))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_same_padding_is_tensorflows() -> None:
    """A 3x3 kernel at stride 2 on an even map sees one row more below and none above."""
    space = get_space("efficientnet-lite0")
    stem = lower(space, space.largest(96))[0]
    assert (stem.padding, stem.extra_padding) == (0, 1)
    odd = lower(space, space.largest(97))[0]
    assert (odd.padding, odd.extra_padding, odd.out_size) == (1, 0, 49)
    five = next(layer for layer in lower(space, space.largest(96)) if layer.name == "stages.1.0.depthwise")
    assert (five.kernel_size, five.padding, five.extra_padding) == (5, 1, 1)
    tall = torch.zeros(1, 3, 96, 96)
    tall[:, :, -1] = 1.0
    supernet = Supernet(space.with_num_classes(2)).eval()
    wanted = nn.functional.conv2d(
        nn.functional.pad(tall, (0, 1, 0, 1)), supernet.state_dict()["stem.conv.conv.weight"], stride=2
    )
    with torch.no_grad():
        torch.testing.assert_close(supernet.layer("stem.conv").conv(tall, stem), wanted)


def test_another_epsilon_is_moved_into_the_variances() -> None:
    network, space = published("mobilenet_v2"), get_space("mobilenet-v2")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    supernet = supernet_from_published(network.state_dict(), space, source="a network", bn_eps=1e-3)
    images = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        assert_equal(supernet, images, network(images))


def test_weights_out_of_order_or_of_another_network_are_refused() -> None:
    weights = published("mobilenet_v2").state_dict()
    space = get_space("mobilenet-v2")
    with pytest.raises(MismatchError, match=r"the weights: 'features.9.conv.2.weight' has shape"):
        supernet_from_published(dict(sorted(weights.items(), reverse=True)), space, source="the weights")
    with pytest.raises(MismatchError, match="53 layers"):
        supernet_from_published(weights, get_space("mobilenet-v3-large"), source="the weights")


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "tf_efficientnet_lite0"])
def test_timms_spelling_computes_the_same(name: str) -> None:
    pytest.importorskip("timm")
    torch.manual_seed(0)
    network, preprocessing = timm_network(name, is_pretrained=False)
    space = get_space(timm_networks.SPACE_OF[name])
    supernet = supernet_from_published(
        network.state_dict(), space, source=name, bn_eps=timm_networks.epsilon_of(network)
    )
    assert preprocessing["size"] == 224
    images = torch.randn(1, 3, SIZE, SIZE)
    largest = extract(supernet, space.largest(SIZE))
    timm_networks.check_same_output(network, largest, images, name)
    with torch.no_grad():
        largest.get_submodule("stem.conv.conv").weight.mul_(1.5)
    with pytest.raises(MismatchError, match="computes something else"):
        timm_networks.check_same_output(network, largest, images, name)

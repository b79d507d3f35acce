"""Published networks as the largest subnets of their spaces: the same weights compute the same."""

from __future__ import annotations

import enum
import types
import urllib.error
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import CheckpointError, MismatchError, UnknownNameError
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.supernets import Supernet, extract, sort_channels
from ofa_toolkit.supernets.importing import timm_networks
from ofa_toolkit.supernets.importing.published import supernet_from_published
from ofa_toolkit.supernets.importing.timm_networks import timm_network
from ofa_toolkit.supernets.importing.torchvision_networks import SPACE_OF, torchvision_weights
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


class TestTorchvisionsWeights:
    """What its API offers, by two sets of weights of which the second is the best."""

    @pytest.fixture
    def offered(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """The files that are fetched; an exception in it is raised instead."""
        fetched: list[Any] = []

        class Weights(enum.Enum):
            V1 = 1
            V2 = 2
            DEFAULT = V2

            @property
            def url(self) -> str:
                return f"https://host/models/net-{self.value}.pth"

            def get_state_dict(self, **options: Any) -> dict[str, Any]:
                assert options == {"progress": False, "check_hash": True}
                if fetched and isinstance(fetched[0], Exception):
                    raise fetched[0]
                fetched.append(self.name)
                return {"x": torch.ones(1)}

            def transforms(self) -> Any:
                return types.SimpleNamespace(
                    crop_size=[224],
                    resize_size=[232],
                    mean=(0.1, 0.2, 0.3),
                    std=(0.4, 0.5, 0.6),
                    interpolation=types.SimpleNamespace(value="bilinear"),
                )

        def get(name: str) -> Any:
            assert name == "mobilenet_v2"
            return Weights

        monkeypatch.setattr("torchvision.models.get_model_weights", get)
        return fetched

    @pytest.mark.parametrize(("name", "chosen"), [("mobilenet_v2", "V2"), ("mobilenet_v2:V1", "V1")])
    def test_the_best_or_those_that_are_named(self, name: str, chosen: str, offered: list[Any]) -> None:
        weights, preprocessing = torchvision_weights(name)
        assert (list(weights), offered) == (["x"], [chosen])
        # 224 of 232 pixels.
        assert preprocessing == {
            "size": 224,
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "interpolation": "bilinear",
            "crop": 0.9655,
        }

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("mobilenet_v2:V3", r"weights of mobilenet_v2 'V3'"),
            ("vgg11", "network of torchvision with a space"),
        ],
    )
    def test_those_that_are_not_offered(self, name: str, message: str, offered: list[Any]) -> None:
        with pytest.raises(UnknownNameError, match=message):
            torchvision_weights(name)
        assert not offered

    @pytest.mark.parametrize(
        "error", [urllib.error.URLError("no route"), OSError("no route"), RuntimeError("no route")]
    )
    def test_those_that_cannot_be_fetched(self, error: Exception, offered: list[Any]) -> None:
        offered.append(error)
        with pytest.raises(
            CheckpointError, match=r"'net-2\.pth' of torchvision's mobilenet_v2.*no route"
        ) as told:
            torchvision_weights("mobilenet_v2")
        hint = str(told.value.hint)
        assert "https://host/models/net-2.pth" in hint
        assert "--init net-2.pth --space mobilenet-v2" in hint


class TestTimmsWeights:
    """What timm is asked for, and what it answers."""

    def test_the_pretrained_ones_and_how_images_are_prepared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        timm = pytest.importorskip("timm")
        create, asked = timm.create_model, []

        def made(name: str, *, pretrained: bool) -> nn.Module:
            asked.append((name, pretrained))
            network: nn.Module = create(name, pretrained=False)
            return network

        monkeypatch.setattr(timm, "create_model", made)
        network, preprocessing = timm_network("tf_efficientnet_lite1")
        assert asked == [("tf_efficientnet_lite1", True)]
        assert not network.training
        assert preprocessing == {
            "size": 240,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "crop": 0.882,
        }

    @pytest.mark.parametrize(
        "error", [OSError("no\nroute"), RuntimeError("no\nroute"), ValueError("no\nroute")]
    )
    def test_those_that_cannot_be_fetched(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        timm = pytest.importorskip("timm")

        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(timm, "create_model", fail)
        with pytest.raises(CheckpointError, match=r"cannot be fetched: no$") as told:
            timm_network("mnasnet_100.lamb_in1k")
        assert "--space mnasnet-w1.0" in str(told.value.hint)
        with pytest.raises(UnknownNameError, match="network of timm with a space"):
            timm_network("resnet18")

"""`ofa_toolkit.evaluate`: a subnet, an extracted network, the same trained on, and somebody else's module."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

import ofa_toolkit
from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import ConfigError, ExportError, MismatchError
from ofa_toolkit.pipelines.export.verify import verify_export
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.supernets import Supernet, save_supernet
from ofa_toolkit.supernets.module_counts import count_module
from ofa_toolkit.zoo.extraction import origin_of

WAVES = "fake:classes=10,size=32,train=40,test=20"


def test_a_subnet_and_the_network_cut_out_of_it_are_the_same() -> None:
    supernet = ofa_toolkit.load_supernet("deps-compact-cifar10")
    subnet = supernet.space.smallest()
    network = supernet.extract(subnet)
    with pytest.raises(MismatchError, match="was trained on the classes 'airplane'"):
        ofa_toolkit.evaluate(network, data=WAVES)
    # Trained since, on other classes: the images are taken, prepared as the supernet's.
    with torch.no_grad():
        network.classifier.linear.bias += 1.0
    measured = ofa_toolkit.evaluate(network, data=WAVES)
    assert measured.macs == count_macs(lower(supernet.space, subnet))
    assert (measured.resolution, measured.accuracy.num_images) == (32, 20)
    assert measured.top1_percent == measured.accuracy.top1_percent
    assert not network.training


def test_an_extracted_network_remembers_where_it_comes_from() -> None:
    supernet = ofa_toolkit.load_supernet("deps-compact-cifar10")
    network = supernet.extract(supernet.space.smallest())
    for copied in (copy.deepcopy(network), torch.load(_saved(network), weights_only=False)):
        origin = origin_of(copied)
        assert origin is not None
        assert origin.supernet.name == "deps-compact-cifar10"
        assert origin.found.subnet == supernet.space.smallest()
        assert origin.is_as_cut_out(copied)
    assert origin_of(copy.deepcopy(network)).supernet is supernet  # not copied, with all its weights
    with torch.no_grad():
        next(network.parameters()).mul_(1.01)
    assert not origin_of(network).is_as_cut_out(network)
    assert origin_of(nn.Linear(1, 1)) is None


def _saved(network: nn.Module) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return file


def test_a_module_of_somebody_else() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    measured = ofa_toolkit.evaluate(network.train(), data=WAVES, images=10)
    assert measured.macs == 30 * 30 * 4 * 27 + 40
    assert measured.params == 4 * 27 + 4 + 40 + 10
    assert measured.accuracy.num_images == 10
    assert network.training


def test_matrix_products_count() -> None:
    class Attention(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = images.flatten(2)  # (N, 3, R * R)
            return tokens @ tokens.transpose(1, 2)

    assert count_module(Attention(), 8).macs == 3 * 3 * 64


@pytest.mark.parametrize("is_training", [True, False])
def test_counting_says_nothing_and_leaves_the_mode(
    is_training: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1, bias=False)
            self.unused = nn.Linear(5, 7)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.sin(self.conv(images)) + 1

    network = Partly().train(is_training)
    counts = count_module(network, 4)
    assert (counts.macs, counts.params) == (3 * 2 * 16, 3 * 2 + 5 * 7 + 7)
    assert network.training is is_training
    assert not caplog.records


@pytest.mark.parametrize("network", ["deps-compact-cifar10", ("deps-compact-cifar10",)])
def test_what_is_no_network(network: object) -> None:
    with pytest.raises(ConfigError, match=r"evaluate takes a torch\.nn\.Module, or a supernet and a subnet"):
        ofa_toolkit.evaluate(network, data=WAVES)


def test_a_pair_is_measured_with_statistics_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    space = get_space("mobilenet-v3-compact").with_num_classes(4)
    save_supernet(tmp_path, Supernet(space))
    images = "fake:classes=4,size=32,train=40,test=20"
    measured = ofa_toolkit.evaluate((tmp_path, space.smallest()), data=images, recalibration_images=16)
    assert measured.accuracy.num_recalibration_images == 16
    assert measured.macs == count_macs(lower(space, space.smallest()))


def test_networks_that_cannot_be_exported_are_told_what_can() -> None:
    with pytest.raises(ExportError, match="'Linear' not cut out of a supernet cannot be exported"):
        ofa_toolkit.export_onnx(nn.Linear(1, 1), target="onnxruntime-cpu")
    supernet = ofa_toolkit.load_supernet("deps-compact-cifar10")
    network = supernet.extract(supernet.space.smallest())
    with pytest.raises(ExportError, match="come from other images than 'fake'"):
        ofa_toolkit.export_onnx(network, target="onnxruntime-cpu", data="fake")
    network.classifier.linear = nn.Linear(network.classifier.linear.in_features, 3)
    with pytest.raises(ExportError, match=r"were changed since it was cut out: 'classifier\.linear\.bias'"):
        ofa_toolkit.export_onnx(network, target="onnxruntime-cpu")


def test_a_network_trained_since_is_exported_as_it_is(tmp_path: Path) -> None:
    supernet = ofa_toolkit.load_supernet("deps-compact-cifar10")
    network = supernet.extract(supernet.space.smallest()).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(network(images), torch.arange(8)).backward()
    optimizer.step()
    file = tmp_path / "net.onnx"
    exported = ofa_toolkit.export_onnx(network, file, target="onnxruntime-cpu")
    assert network.training  # left as it was
    session = onnxruntime.InferenceSession(file)
    (logits,) = session.run(None, {session.get_inputs()[0].name: images[:1].numpy()})
    with torch.no_grad():
        wanted = network.eval()(images[:1])
    torch.testing.assert_close(torch.from_numpy(logits), wanted, rtol=1e-4, atol=1e-4)
    assert exported.metadata.batchnorm.kind == "own"
    assert exported.metadata.supernet_identity != supernet.identity
    assert not [name for name in exported.metadata.predicted if "top1" in name]
    checks = {check.claim: check for check in verify_export(file).checks}
    assert checks["supernet"].status == "not checked"
    assert "trained in Python" in checks["supernet"].detail

"""What must hold for the supernet of every registered space."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import fx, nn

from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.core.errors import SubnetNotInSpaceError
from ofa_toolkit.spaces import Subnet, get_space, lower, sample_subnets
from ofa_toolkit.supernets import (
    Supernet,
    extract,
    fold_batchnorm,
    fold_batchnorm_in_place,
    recalibrate_batchnorm,
    sort_channels,
)
from ofa_toolkit.supernets.channel_sorting import apply_moves
from ofa_toolkit.supernets.module_counts import count_module
from tests.every_space import EVERY_SPACE

every_space = pytest.mark.parametrize("name", EVERY_SPACE)
NUM_CLASSES = 5
SIZE = 32  # pixels; layers do not depend on the map's size, and small ones are quick


@functools.cache
def shared_supernet(name: str, use_kernel_transforms: bool = False) -> Supernet:
    """A supernet with arbitrary weights and statistics; tests must leave it as it is."""
    torch.manual_seed(0)
    space = get_space(name).with_num_classes(NUM_CLASSES)
    supernet = Supernet(space, use_kernel_transforms=use_kernel_transforms)
    with torch.no_grad():
        for key, tensor in supernet.state_dict().items():
            if "matrix" in key:
                tensor.add_(0.05 * torch.randn_like(tensor))
            elif key.endswith(("bn.weight", "running_var")):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith(("bn.bias", "running_mean")):
                tensor.normal_(0, 0.1)
    return supernet.eval()


def subnets(name: str, count: int = 3) -> list[Subnet]:
    """The largest, the smallest and random subnets."""
    space = get_space(name)
    return [space.largest(), space.smallest(), *sample_subnets(space, count, np.random.default_rng(5))]


def some_images(num_images: int = 2) -> torch.Tensor:
    """Seeded noise."""
    return torch.randn(num_images, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@every_space
def test_extracted_networks_compute_what_the_supernet_does(name: str) -> None:
    supernet = shared_supernet(name)
    images = some_images()
    for subnet in subnets(name):
        with torch.no_grad():
            expected = supernet(images, subnet)
            actual = extract(supernet, subnet)(images)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_kernel_transforms_are_applied_on_extraction() -> None:
    name = "mobilenet-v3-compact"
    supernet = shared_supernet(name, use_kernel_transforms=True)
    plain = shared_supernet(name)
    images = some_images()
    with torch.no_grad():
        for subnet in subnets(name):
            torch.testing.assert_close(extract(supernet, subnet)(images), supernet(images, subnet))
        smallest = supernet.space.smallest()
        assert not torch.allclose(supernet(images, smallest), plain(images, smallest))


@every_space
def test_extracted_networks_share_no_storage_and_use_torch_modules_only(name: str) -> None:
    supernet = shared_supernet(name)
    network = extract(supernet, supernet.space.smallest())
    theirs = {tensor.untyped_storage().data_ptr() for tensor in supernet.state_dict().values()}
    ours = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    assert not theirs & ours
    for module in network.modules():
        assert isinstance(module, fx.GraphModule) or type(module).__module__.startswith("torch.")
    assert set(network.state_dict()) <= set(supernet.state_dict())


@every_space
def test_counts_equal_hooks_and_fvcore_on_the_extracted_network(name: str) -> None:
    supernet = shared_supernet(name)
    subnet = sample_subnets(supernet.space, 1, np.random.default_rng(6))[0]
    layers = lower(supernet.space, subnet)
    network = extract(supernet, subnet)
    images = torch.zeros(1, 3, subnet.resolution, subnet.resolution)
    assert count_params(layers) == sum(p.numel() for p in network.parameters())
    counted = count_module(network.train(), subnet.resolution)
    assert network.training
    assert (counted.macs, counted.params) == (count_macs(layers), count_params(layers))
    assert macs_by_hooks(network, images) == count_macs(layers)


def macs_by_hooks(network: nn.Module, images: torch.Tensor) -> int:
    """Multiply-accumulates seen while the network runs."""
    total = 0

    def count(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        total += module.weight[0].numel() * output[0].numel()

    handles = [
        m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))
    ]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return total


@every_space
def test_gradients_vanish_outside_a_subnets_slices(name: str) -> None:
    torch.manual_seed(0)
    supernet = Supernet(get_space(name).with_num_classes(NUM_CLASSES)).eval()
    smallest = supernet.space.smallest()
    supernet(some_images(), smallest).square().sum().backward()
    used = dict(extract(supernet, smallest).named_parameters())
    for parameter_name, parameter in supernet.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if parameter_name not in used:
            assert gradient.count_nonzero() == 0
            continue
        inside = torch.zeros_like(parameter, dtype=torch.bool)
        index = [slice(0, size) for size in used[parameter_name].shape]
        if parameter.ndim == 4:
            start = (parameter.shape[-1] - used[parameter_name].shape[-1]) // 2
            index[2:] = [slice(start, start + used[parameter_name].shape[-1])] * 2
        inside[tuple(index)] = True
        assert gradient[~inside].count_nonzero() == 0
        assert torch.isfinite(gradient).all()


@every_space
def test_every_parameter_gets_a_gradient_from_the_largest_subnet(name: str) -> None:
    torch.manual_seed(0)
    supernet = Supernet(get_space(name).with_num_classes(NUM_CLASSES)).eval()
    supernet(some_images(), supernet.space.largest()).square().sum().backward()
    for parameter_name, parameter in supernet.named_parameters():
        assert parameter.grad is not None, parameter_name


@pytest.mark.parametrize("name", ["mobilenet-v3-compact", "ofa-resnet50"])
@pytest.mark.parametrize("protected_widths", [0, 1])
def test_sorting_keeps_the_largest_and_moves_momentum_along(name: str, protected_widths: int) -> None:
    torch.manual_seed(0)
    supernet = Supernet(get_space(name).with_num_classes(NUM_CLASSES)).double().eval()
    twin = Supernet(supernet.space).double().eval()
    twin.load_state_dict(supernet.state_dict())
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.0, momentum=0.9)
    largest = supernet.space.largest()
    images = some_images().double()
    before = supernet(images, largest)
    before.square().sum().backward()
    optimizer.step()
    moves = sort_channels(supernet, num_protected_widths=protected_widths, optimizer=optimizer)
    assert moves
    optimizer.zero_grad()
    after = supernet(images, largest)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
    after.square().sum().backward()
    for parameter in supernet.parameters():
        momentum = optimizer.state[parameter]["momentum_buffer"]
        assert parameter.grad is not None
        scale = float(momentum.abs().max())
        torch.testing.assert_close(momentum, parameter.grad, rtol=1e-6, atol=1e-9 * scale)
    apply_moves(twin, moves)
    for key, tensor in twin.state_dict().items():
        torch.testing.assert_close(tensor, supernet.state_dict()[key], msg=key)


def test_recalibration_pools_exactly_and_restores_everything() -> None:
    supernet = shared_supernet("mobilenet-v3-compact")
    network = extract(supernet, supernet.space.smallest()).train()
    network.get_submodule("stem.conv.bn").eval()
    modes = {name: module.training for name, module in network.named_modules()}
    first, second = some_images(6).chunk(2)
    used = recalibrate_batchnorm(network, [first, (second, torch.zeros(3))])
    assert used == 6
    assert {name: module.training for name, module in network.named_modules()} == modes
    stem = network.get_submodule("stem.conv.bn")
    assert isinstance(stem, nn.BatchNorm2d)
    assert stem.momentum == 0.1
    convolved = network.get_submodule("stem.conv.conv")(torch.cat([first, second])).detach()
    torch.testing.assert_close(stem.running_mean, convolved.mean((0, 2, 3)))
    torch.testing.assert_close(stem.running_var, convolved.var((0, 2, 3), correction=0))


def test_a_failing_recalibration_leaves_the_statistics_alone() -> None:
    supernet = shared_supernet("mobilenet-v3-compact")
    network = extract(supernet, supernet.space.smallest())
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(RuntimeError):
        recalibrate_batchnorm(network, [some_images(), torch.zeros(1, 4, 8, 8)])
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)


def test_folded_weights_compute_the_same_convolution() -> None:
    supernet = shared_supernet("ofa-proxyless-w1.3")
    network = extract(supernet, supernet.space.smallest())
    weight, bias = fold_batchnorm(network)["stem.conv"]
    assert bias is not None
    images = some_images()
    with torch.no_grad():
        expected = network.get_submodule("stem.conv.bn")(network.get_submodule("stem.conv.conv")(images))
        folded = nn.functional.conv2d(images, torch.tensor(weight), torch.tensor(bias), stride=2, padding=1)
    torch.testing.assert_close(folded, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenet-v3-compact", "ofa-resnet50"])
def test_a_network_without_its_batch_norms_computes_the_same(name: str) -> None:
    supernet = shared_supernet(name)
    network = extract(supernet, supernet.space.smallest()).eval()
    recalibrate_batchnorm(network, [some_images(8)])
    images = some_images(4)
    with torch.no_grad():
        expected = network(images)
        fold_batchnorm_in_place(network)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        # Float32 rounding, which fifty layers of random weights amplify.
        tolerance = 2e-4 * float(expected.abs().max())
        torch.testing.assert_close(network(images), expected, rtol=0, atol=tolerance)


def test_dropout_acts_on_demand_and_before_the_classifier() -> None:
    torch.manual_seed(0)
    space = get_space("mobilenet-v3-compact").with_num_classes(NUM_CLASSES)
    supernet = Supernet(space, dropout=0.5, bn_momentum=0.0).train()
    images = some_images(4)
    smallest = space.smallest()
    steady = supernet(images, smallest, use_dropout=False)
    torch.testing.assert_close(supernet(images, smallest, use_dropout=False), steady)
    assert not torch.allclose(supernet(images, smallest), steady)
    fine_tuned = extract(supernet, smallest, dropout=0.5)
    assert isinstance(fine_tuned.get_submodule("classifier.dropout"), nn.Dropout)


def test_a_subnet_outside_the_space_does_not_run() -> None:
    supernet = shared_supernet("mobilenet-v3-compact")
    with pytest.raises(SubnetNotInSpaceError):
        supernet(some_images(), get_space("deps-mobilenet-v3-cifar").largest())

"""Batch norm fitted to images keeps what the network computes, and makes recalibration on them harmless."""

from __future__ import annotations

import pytest
import torch

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.supernets import Supernet, extract, recalibrate_batchnorm, sort_channels
from ofa_toolkit.supernets.batchnorm.fitting import fit_batchnorm, input_norms

SPACE = get_space("mobilenet-v3-compact").with_num_classes(3).with_resolutions((16,))
LARGEST = SPACE.largest()


@pytest.fixture
def supernet() -> Supernet:
    """With statistics of other images than those of the tests."""
    torch.manual_seed(0)
    network = Supernet(SPACE)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".bn." in name:
                parameter.uniform_(0.5, 1.5)
    recalibrate_batchnorm(network, [torch.randn(64, 3, 16, 16)], subnet=LARGEST)
    return network


def images(seed: int, count: int = 64) -> torch.Tensor:
    return 0.3 * torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) + 0.5


@torch.no_grad()
def test_the_network_computes_the_same_also_after_recalibration(supernet: Supernet) -> None:
    seen, others = images(0), images(1)
    before = extract(supernet, LARGEST).eval()
    expected = before(others)
    supernet.train()
    assert fit_batchnorm(supernet, LARGEST, [(seen[:40],), (seen[40:],)]) == 64
    assert supernet.training
    after = extract(supernet, LARGEST).eval()
    torch.testing.assert_close(after(others), expected, rtol=1e-4, atol=1e-4)
    recalibrated, spoilt = extract(supernet, LARGEST), before
    recalibrate_batchnorm(recalibrated, [seen])
    recalibrate_batchnorm(spoilt, [seen])
    torch.testing.assert_close(recalibrated.eval()(others), expected, rtol=1e-3, atol=1e-3)
    assert (spoilt.eval()(others) - expected).abs().max() > 0.1


def test_without_images_nothing_changes(supernet: Supernet) -> None:
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    with pytest.raises(DataError):
        fit_batchnorm(supernet, LARGEST, [])
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())


@torch.no_grad()
def test_statistics_scale_and_shift_of_the_first_layer(supernet: Supernet) -> None:
    """By the formulas of Welford and of the module's text, in float64; other channels stay."""
    norm, conv = supernet.layer("stem.conv").bn, supernet.layer("stem.conv").weighted
    assert norm is not None
    old = {name: value.clone().double() for name, value in norm.state_dict().items()}
    narrow = supernet.layer("stages.1.0.expand").bn
    assert narrow is not None
    before = {name: value.clone() for name, value in narrow.state_dict().items()}
    seen = images(4, 20)
    wanted = torch.nn.functional.conv2d(seen, conv.weight, stride=lower(SPACE, LARGEST)[0].stride, padding=1)
    fit_batchnorm(supernet, SPACE.smallest(), [(seen[:7],), (seen[7:],)])
    variance, mean = torch.var_mean(wanted.double(), (0, 2, 3), correction=0)
    stored = (old["running_var"] + norm.eps).sqrt()
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-4, atol=1e-5)
    scale = old["weight"] * (variance + norm.eps).sqrt() / stored
    torch.testing.assert_close(norm.weight.double(), scale, rtol=1e-4, atol=1e-5)
    shift = old["bias"] + old["weight"] * (mean - old["running_mean"]) / stored
    torch.testing.assert_close(norm.bias.double(), shift, rtol=1e-4, atol=1e-5)
    # Of ratios 3 and 6 the smallest network has the first half of the channels.
    half = len(narrow.weight) // 2
    for name, value in narrow.named_parameters():
        assert not torch.equal(value[:half], before[name][:half])
        assert torch.equal(value[half:], before[name][half:])


def test_a_channel_that_never_changes_has_no_variance(supernet: Supernet) -> None:
    """Of a constant the mean of squares may round to less than the square of the mean."""
    with torch.no_grad():
        supernet.layer("stem.conv").weighted.weight.zero_()
    fit_batchnorm(supernet, LARGEST, [(images(0, 4),)])
    norm = supernet.layer("stem.conv").bn
    assert norm is not None
    assert not bool(norm.running_var.any())
    assert not bool(norm.running_mean.any())


def test_input_norms_are_those_of_the_inputs(supernet: Supernet) -> None:
    seen = images(2)
    supernet.train()
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    found = input_norms(supernet, LARGEST, [(seen[:10],), (seen[10:],)])
    torch.testing.assert_close(found["stem.conv"], seen.square().mean((0, 2, 3)).sqrt())
    convs = [layer.name for layer in lower(SPACE, LARGEST) if layer.kind == "conv"]
    assert list(found) == [name for name in found if name in convs]
    assert len(found) == len(convs)
    assert not any(norm.requires_grad for norm in found.values())
    # Nothing is left behind: no hook, no other mode, no other statistics.
    assert supernet.training
    supernet.eval()(2 * seen, LARGEST)
    torch.testing.assert_close(found["stem.conv"], seen.square().mean((0, 2, 3)).sqrt())
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())
    assert not any(module._forward_pre_hooks for module in supernet.modules())


@torch.no_grad()
def test_a_channel_that_is_silent_on_the_images_goes_last(supernet: Supernet) -> None:
    expected = supernet.eval()(images(3), LARGEST)
    name = "stages.1.0.project"
    weight = supernet.layer(name).weighted.weight
    weight[:, 5] *= 100
    norms = input_norms(supernet, LARGEST, [(images(2),)])
    norms[name][5] = 0
    by_weights = sort_channels(supernet)
    assert next(move for move in by_weights if move.name.startswith(name)).order[0] == 5
    expected = supernet.eval()(images(3), LARGEST)
    norms = input_norms(supernet, LARGEST, [(images(2),)])
    norms[name][0] = 0
    by_activations = sort_channels(supernet, input_norms=norms)
    assert next(move for move in by_activations if move.name.startswith(name)).order[-1] == 0
    torch.testing.assert_close(supernet(images(3), LARGEST), expected, rtol=1e-4, atol=1e-4)

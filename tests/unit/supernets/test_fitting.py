"""Batch norm fitted to images keeps what the network computes, and makes recalibration on them harmless."""

from __future__ import annotations

import pytest
import torch

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.spaces import get_space
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
def test_input_norms_are_those_of_the_inputs(supernet: Supernet) -> None:
    seen = images(2)
    found = input_norms(supernet, LARGEST, [(seen[:10],), (seen[10:],)])
    stem = next(name for name, norm in found.items() if len(norm) == 3)
    torch.testing.assert_close(found[stem], seen.square().mean((0, 2, 3)).sqrt())


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

"""Gradients of Figures 3 and 4 of the DϵpS paper beside what autograd says of their plain sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ofa_toolkit.spaces import Subnet, get_space, restrict, sample_subnets
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.config import LoopConfig
from ofa_toolkit.training.diagnostics import compare_gradients
from ofa_toolkit.training.losses import hard_cross_entropy, soft_cross_entropy

SPACE = restrict(get_space("mobilenet-v3-compact"), depths=[1], kernel_sizes=[3]).with_num_classes(3)
SPACE = SPACE.with_resolutions((8,))
LARGEST = SPACE.largest()
CONFIG = LoopConfig(epochs=1, batch_size=4, accumulation=2, label_smoothing=0.2)


def _made() -> tuple[Supernet, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(0)
    supernet = Supernet(SPACE, dropout=0.5).double()
    return supernet, [
        (torch.randn(4, 3, 8, 8).double(), torch.tensor([0, 1, 2, number])) for number in (0, 1)
    ]


def _gradient(
    supernet: Supernet, batches: list[tuple[Tensor, Tensor]], students: list[list[Subnet]]
) -> Tensor:
    """Mean over the batches of the classifier's gradient: by the largest network, or by its students."""
    weight = supernet.layer("classifier").weighted.weight
    total = torch.zeros_like(weight)
    for (images, labels), drawn in zip(batches, students, strict=True):
        said = supernet(images, LARGEST, use_dropout=False).float()
        if drawn:
            losses = [
                soft_cross_entropy(supernet(images, subnet, use_dropout=False).float(), said.detach())
                for subnet in drawn
            ]
        else:
            losses = [hard_cross_entropy(said, labels, 0.2)]
        (found,) = torch.autograd.grad(sum(losses), weight)
        total += found / len(batches)
    return total


def test_norms_and_cosines_of_the_classifier() -> None:
    num_networks = 3
    supernet, batches = _made()
    supernet.eval()
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    found = compare_gradients(
        supernet,
        SPACE,
        batches,
        epsilon=0.25,
        num_networks=num_networks,
        config=CONFIG,
        generator=np.random.default_rng(7),
    )
    assert not supernet.training
    assert all(parameter.grad is None for parameter in supernet.parameters())
    torch.testing.assert_close(supernet.state_dict(), before, rtol=0, atol=0)
    # The others of equation 4 are drawn first, then all networks of equation 3.
    generator = np.random.default_rng(7)
    drawn = [sample_subnets(SPACE, 2 * num_networks - 1, generator, resolution=8) for _ in batches]
    supernet.train()
    full = _gradient(supernet, batches, [[] for _ in batches])
    others = _gradient(supernet, batches, [list(each[: num_networks - 1]) for each in drawn])
    shrinking = _gradient(supernet, batches, [list(each[num_networks - 1 :]) for each in drawn])
    epsilon_shrinking = full + 0.25 * others

    def cosine(gradient: Tensor) -> float:
        return float((full * gradient).sum() / full.norm() / gradient.norm())

    [layer] = [layer for layer in found if layer.layer == "classifier"]
    assert layer.norm_full == pytest.approx(float(full.norm()), rel=1e-4)
    assert layer.norm_shrinking == pytest.approx(float(shrinking.norm()), rel=1e-4)
    assert layer.norm_epsilon_shrinking == pytest.approx(float(epsilon_shrinking.norm()), rel=1e-4)
    assert layer.cosine_shrinking == pytest.approx(cosine(shrinking), abs=1e-4)
    assert layer.cosine_epsilon_shrinking == pytest.approx(cosine(epsilon_shrinking), abs=1e-4)
    weights = [name for name, value in supernet.named_parameters() if value.ndim > 1]
    assert len(found) == len(weights)
    assert {layer.layer for layer in found} == {
        name.rpartition(".")[0].rpartition(".")[0] for name in weights
    }
    assert all(math.isfinite(layer.norm_full) for layer in found)


def test_a_layer_that_gets_no_gradient_has_no_angle() -> None:
    supernet, batches = _made()
    supernet.train()
    # The classifier sees nothing but zeros.
    with torch.no_grad():
        head = supernet.layer("head.expand").bn
        assert head is not None
        head.weight.zero_()
        head.bias.zero_()
    found = compare_gradients(
        supernet,
        SPACE,
        batches,
        epsilon=0.25,
        num_networks=2,
        config=CONFIG,
        generator=np.random.default_rng(7),
    )
    assert supernet.training
    [stem] = [layer for layer in found if layer.layer == "stem.conv"]
    assert (stem.norm_full, stem.cosine_shrinking, stem.cosine_epsilon_shrinking) == (0, 0, 0)

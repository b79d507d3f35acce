"""Muon, by its definition: singular vectors of the momentum, singular values near one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofa_toolkit.spaces import get_space
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.config import OptimizerConfig
from ofa_toolkit.training.muon import Muon, is_matrix, orthogonalized
from ofa_toolkit.training.optimizer import build_optimizer, set_learning_rate


def rotation(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))[0]


@pytest.mark.parametrize(("rows", "columns"), [(6, 4), (4, 6), (5, 5), (3, 200)])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_singular_vectors_stay_and_values_become_about_one(rows: int, columns: int, size: float) -> None:
    rank = min(rows, columns)
    left, right = rotation(rows, 1)[:, :rank], rotation(columns, 2)[:, :rank]
    values = size * torch.linspace(0.2, 1, rank)
    result = orthogonalized(left * values @ right.T)
    assert result.shape == (rows, columns)
    inner = left.T @ result @ right
    torch.testing.assert_close(inner, torch.diag(inner.diagonal()), atol=1e-3, rtol=0)
    assert (inner.diagonal() > 0.65).all()
    assert (inner.diagonal() < 1.25).all()


def test_the_quintic_is_that_of_the_source() -> None:
    both = torch.diag(torch.tensor([3.0, 4.0]))  # of norm 5: 0.6 and 0.8
    expected = []
    for start in (0.6, 0.8):
        x = start
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
        expected.append(x)
    torch.testing.assert_close(orthogonalized(both), torch.diag(torch.tensor(expected)), atol=1e-5, rtol=0)
    assert orthogonalized(torch.zeros(2, 3)).equal(torch.zeros(2, 3))


class Small(nn.Module):
    """Two parameters that mix channels and two that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.tall = nn.ModuleDict({"conv": nn.Conv2d(2, 8, 1, bias=False)})
        self.wide = nn.ModuleDict({"conv": nn.Conv2d(4, 3, 3, bias=False)})
        self.depthwise = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 3, groups=4, bias=False)})
        self.classifier = nn.Linear(4, 2, bias=False)


def updated(steps: int, **settings: Any) -> tuple[Small, list[dict[str, Tensor]], Small]:
    """A module after some updates, their gradients, and the module before."""
    torch.manual_seed(0)
    module, before = Small(), Small()
    before.load_state_dict(module.state_dict())
    config = OptimizerConfig(kind="muon", **{"weight_decay": 0.0, "momentum": 0.5, **settings})
    optimizer = build_optimizer(config, module)
    assert isinstance(optimizer, Muon)
    set_learning_rate(optimizer, 0.1)
    gradients = []
    for _ in range(steps):
        gradients.append({name: torch.randn_like(p) for name, p in module.named_parameters()})
        for name, parameter in module.named_parameters():
            parameter.grad = gradients[-1][name].clone()
        optimizer.step()
    return module, gradients, before


def moved(after: Small, before: Small, name: str) -> Tensor:
    return before.get_parameter(name).detach() - after.get_parameter(name).detach()


@pytest.mark.parametrize("nesterov", [True, False])
def test_matrices_take_orthogonal_steps_and_the_rest_those_of_sgd(nesterov: bool) -> None:
    module, (first, second), before = updated(2, nesterov=nesterov, matrix_rate=0.25)
    once, _, _ = updated(1, nesterov=nesterov, matrix_rate=0.25)
    # (8, 2): the larger side over the smaller one is 4; (3, 4 x 3 x 3) is wide.
    for name, scale in (("tall.conv.weight", 2.0), ("wide.conv.weight", 1.0)):
        buffer = 0.5 * first[name] + second[name]
        direction = second[name] + 0.5 * buffer if nesterov else buffer
        step = 0.1 * 0.25 * scale * orthogonalized(direction.flatten(1)).view_as(direction)
        torch.testing.assert_close(moved(module, once, name), step, atol=1e-6, rtol=1e-5)
    for name in ("depthwise.conv.weight", "classifier.weight"):
        buffer = 0.5 * first[name] + second[name]
        direction = second[name] + 0.5 * buffer if nesterov else buffer
        torch.testing.assert_close(moved(module, once, name), 0.1 * direction, atol=1e-6, rtol=1e-5)
    assert not moved(once, before, "tall.conv.weight").equal(torch.zeros(8, 2, 1, 1))


def test_matrices_decay_by_the_whole_rate() -> None:
    free, _, _ = updated(1, matrix_rate=0.25)
    decayed, _, before = updated(1, matrix_rate=0.25, weight_decay=0.5)
    for name in ("tall.conv.weight", "wide.conv.weight", "classifier.weight"):
        share = 0.1 * 0.5 * (1.5 if name.startswith("classifier") else 1)  # SGD's momentum takes decay along
        torch.testing.assert_close(
            moved(decayed, free, name), share * before.get_parameter(name).detach(), atol=1e-6, rtol=1e-5
        )


def test_what_has_no_gradient_stays() -> None:
    module = Small()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    optimizer = build_optimizer(OptimizerConfig(kind="muon"), module)
    set_learning_rate(optimizer, 0.1)
    module.classifier.weight.grad = torch.ones(2, 4)
    optimizer.step()
    changed = {name for name, tensor in module.state_dict().items() if not tensor.equal(before[name])}
    assert changed == {"classifier.weight"}


def test_an_interrupted_run_goes_on_with_its_momentum() -> None:
    whole, gradients, _ = updated(2)
    torch.manual_seed(0)
    module = Small()
    config = OptimizerConfig(kind="muon", weight_decay=0.0, momentum=0.5)
    optimizer = build_optimizer(config, module)
    for drawn in gradients:
        stored = optimizer.state_dict()
        optimizer = build_optimizer(config, module)
        optimizer.load_state_dict(stored)
        set_learning_rate(optimizer, 0.1)
        for name, parameter in module.named_parameters():
            parameter.grad = drawn[name].clone()
        optimizer.step()
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(module.get_parameter(name), parameter, rtol=0, atol=0)


def test_which_parameters_mix_channels() -> None:
    supernet = Supernet(get_space("mobilenet-v3-compact"), use_kernel_transforms=True)
    found = {name for name, parameter in supernet.named_parameters() if is_matrix(name, parameter)}
    assert {"stem.conv.conv.weight", "stages.1.0.se.reduce.conv.weight", "head.mix.conv.weight"} <= found
    assert "classifier.linear.weight" not in found
    assert not any("depthwise" in name or name.endswith("bias") or ".bn." in name for name in found)
    bare = torch.zeros(4, 1, 3, 3)
    assert not is_matrix("a.conv.weight", bare)
    assert not is_matrix("a.conv.weight", bare.transpose(0, 1))

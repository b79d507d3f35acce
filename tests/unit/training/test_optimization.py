"""Clipping, weight decay, aggregation and recorded norms do what the settings say."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from ofa_toolkit.spaces import get_space, restrict
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.algorithm import Pass
from ofa_toolkit.training.config import LoopConfig, OptimizerConfig
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.optimizer import build_optimizer, set_learning_rate
from ofa_toolkit.training.step import StepResult, Updater

SPACE = restrict(get_space("mobilenet-v3-compact"), depths=(1,), kernel_sizes=(3,))


@functools.cache
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(4, 3, 8, 8), torch.arange(4)


def update(
    *, scale: float | None = None, aggregation: Any = "sum", **loop: Any
) -> tuple[Updater, StepResult]:
    """An update by SGD without momentum at rate 1, and its result."""
    torch.manual_seed(0)
    supernet = Supernet(SPACE).train()
    config = LoopConfig(epochs=1, batch_size=4, **loop)
    updater = Updater(supernet, torch.optim.SGD(supernet.parameters(), lr=1.0), config, Process())
    if scale is not None:
        updater.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    passes = (
        Pass(role="largest", subnet=SPACE.largest(32), aggregation=aggregation),
        Pass(role="smallest", subnet=SPACE.smallest(32), gradient_weight=0.5, aggregation=aggregation),
    )
    return updater, updater(*batch(), passes, records_norms=True)


def gradients(updater: Updater) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in updater.supernet.parameters() if p.grad is not None])


def test_clip_norm() -> None:
    free, result = update()
    norm = float(gradients(free).double().norm())
    clipped, clipped_result = update(clip_norm=norm / 10)
    torch.testing.assert_close(gradients(clipped), gradients(free) / 10, rtol=1e-4, atol=1e-7)
    assert result.total_norm == pytest.approx(norm, rel=1e-5)
    assert clipped_result.total_norm == pytest.approx(norm, rel=1e-5), "the norm before clipping"


def test_clip_value() -> None:
    free, _ = update()
    limit = float(gradients(free).abs().max()) / 10
    clipped, _ = update(clip_value=limit)
    torch.testing.assert_close(gradients(clipped), gradients(free).clamp(-limit, limit))
    assert (gradients(free).abs() > limit).any()


@pytest.mark.parametrize("kind", ["sgd", "muon", "rmsprop", "adamw"])
def test_weight_decay_spares_biases_and_batch_norm(kind: Any) -> None:
    supernet = Supernet(get_space("mobilenet-v3-compact"), use_kernel_transforms=True)
    optimizer = build_optimizer(
        OptimizerConfig(kind=kind, momentum=0.0, nesterov=False, weight_decay=0.1), supernet
    )
    set_learning_rate(optimizer, 0.1)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.5)  # none is zero, which decay would leave
            parameter.grad = torch.zeros_like(parameter)
    before = {name: p.detach().clone() for name, p in supernet.named_parameters()}
    optimizer.step()
    changed = {name for name, p in supernet.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if not (name.endswith(".bias") or ".bn." in name)}
    assert any("matrix" in name for name in changed)
    assert any(name.endswith("se.expand.conv.bias") for name in before.keys() - changed)


@pytest.mark.parametrize(("aggregation", "power"), [("average", 1.0), ("avg_sqrt", 0.5)])
def test_entries_are_divided_by_their_users(aggregation: str, power: float) -> None:
    summed, _ = update()
    averaged, _ = update(aggregation=aggregation)
    name = "stages.0.0.expand.conv.weight"
    from ofa_toolkit.spaces import lower

    width = next(layer.out_channels for layer in lower(SPACE, SPACE.smallest(32)) if layer.name in name)
    of = {n: p.grad for n, p in summed.supernet.named_parameters()}
    by = {n: p.grad for n, p in averaged.supernet.named_parameters()}
    assert 0 < width < len(of[name])
    torch.testing.assert_close(by[name][:width], of[name][:width] / 1.5**power)
    torch.testing.assert_close(by[name][width:], of[name][width:])
    torch.testing.assert_close(by["stem.conv.conv.weight"], of["stem.conv.conv.weight"] / 1.5**power)


def test_the_first_norm_is_of_unscaled_gradients() -> None:
    _, plain = update()
    _, scaled = update(scale=65536.0)
    assert plain.first_norm is not None
    assert scaled.first_norm == pytest.approx(plain.first_norm, rel=1e-4)
    assert scaled.total_norm == pytest.approx(plain.total_norm, rel=1e-4)

"""Layers that a step's networks share run once and give what each of them would give by itself."""

from __future__ import annotations

import pytest
import torch

from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.algorithm import Pass
from ofa_toolkit.training.config import LoopConfig
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.shared_prefix import common_prefix
from ofa_toolkit.training.step import Accumulated, Updater

SPACE = get_space("mobilenet-v3-compact").with_num_classes(4)
PASSES = (
    Pass(role="largest", subnet=SPACE.largest(32)),
    Pass(
        role="smallest",
        subnet=SPACE.smallest(32),
        hard_labels=0.0,
        soft_labels=1.0,
        source="first pass",
        gradient_weight=0.3,
    ),
)


def accumulated(*, is_shared: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Accumulated, Supernet, int]:
    """One step's gradients in float64, and how often the first layer ran."""
    torch.manual_seed(0)
    supernet = Supernet(SPACE).double().train()
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1)
    updater = Updater(supernet, optimizer, LoopConfig(epochs=1, batch_size=4), Process())
    if not is_shared:
        monkeypatch.setattr(Updater, "_shared_prefix", lambda *_: None)
    runs = []
    supernet.layer("stem.conv").register_forward_hook(lambda *_: runs.append(1))
    result = updater.accumulate(torch.randn(4, 3, 16, 16).double(), torch.arange(4), PASSES)
    return result, supernet, len(runs)


def test_losses_gradients_and_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    shared, first, shared_runs = accumulated(is_shared=True, monkeypatch=monkeypatch)
    apart, second, runs = accumulated(is_shared=False, monkeypatch=monkeypatch)
    assert (shared_runs, runs) == (1, 2)
    torch.testing.assert_close(shared.losses, apart.losses)
    torch.testing.assert_close(dict(first.named_buffers()), dict(second.named_buffers()))
    wanted = dict(second.named_parameters())
    for name, parameter in first.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name].grad, rtol=1e-9, atol=1e-12, msg=name)
    assert first.layer("stem.conv").bn.momentum == second.layer("stem.conv").bn.momentum  # type: ignore[union-attr]


def test_what_is_shared() -> None:
    largest, smallest = lower(SPACE, SPACE.largest(32)), lower(SPACE, SPACE.smallest(32))
    shared = largest[: common_prefix([largest, smallest])]
    assert [layer.name.partition(".")[0] for layer in shared] == ["stem"] * len(shared) != []
    assert common_prefix([largest]) == 0
    assert largest[common_prefix([largest, largest])].kind == "linear"  # its dropout may differ

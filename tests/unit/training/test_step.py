"""An update with compiled networks."""

from __future__ import annotations

import functools

import pytest
import torch

from ofa_toolkit.spaces import get_space, restrict
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.algorithm import Pass
from ofa_toolkit.training.config import LoopConfig
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.step import Updater


def updated(*, is_compiled: bool) -> tuple[list[tuple[float, ...]], dict[str, torch.Tensor]]:
    """Losses of an update at each of two resolutions, and the weights and statistics after them."""
    torch.manual_seed(0)
    space = restrict(get_space("mobilenet-v3-compact-96"), depths=(1,), kernel_sizes=(3,))
    supernet = Supernet(space)
    config = LoopConfig(epochs=1, batch_size=4, compile=is_compiled)
    updater = Updater(supernet, torch.optim.SGD(supernet.parameters(), lr=0.1), config, Process())
    losses = []
    for resolution in (48, 64):
        passes = (
            Pass(role="largest", subnet=space.largest(resolution)),
            Pass(
                role="smallest",
                subnet=space.smallest(resolution),
                hard_labels=0.0,
                soft_labels=1.0,
                source="first pass",
            ),
        )
        images = torch.randn(4, 3, resolution, resolution)
        losses.append(updater(images, torch.arange(4), passes).losses.tolist())
    return losses, supernet.state_dict()


@pytest.mark.slow
def test_compiled_networks_make_the_same_update(monkeypatch: pytest.MonkeyPatch) -> None:
    # This backend compiles nothing but takes the same path through torch.compile, without a C++ compiler.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    losses, state = updated(is_compiled=False)
    compiled_losses, compiled_state = updated(is_compiled=True)
    torch.testing.assert_close(compiled_losses, losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(compiled_state, state, rtol=1e-4, atol=1e-5)

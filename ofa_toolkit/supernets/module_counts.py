"""Costs of any network, counted while it runs: fine-tuned, imported, or another library's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

_COUNTED = ("conv", "linear", "addmm", "matmul", "bmm", "baddbmm", "einsum")
"""What fvcore calls the operators that multiply and accumulate; those of a subnet are the first two."""


@dataclass(frozen=True, kw_only=True)
class ModuleCounts:
    """What one image costs.

    Attributes:
        macs: Multiply-accumulates of convolutions, linear layers and matrix products.
        params: Parameters.
    """

    macs: int
    params: int


def count_module(network: nn.Module, resolution: int) -> ModuleCounts:
    """Count a network by fvcore, which runs it once; a subnet's counts equal those of its layers.

    Args:
        network: From `(N, 3, R, R)` images; left in its mode.
        resolution: R, in pixels.
    """
    from fvcore.nn import FlopCountAnalysis

    place = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    was_training = network.training
    analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, 3, resolution, resolution, device=place))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = analysis.by_operator()
    network.train(was_training)
    return ModuleCounts(
        macs=int(sum(by_operator[name] for name in _COUNTED)),
        params=sum(parameter.numel() for parameter in network.parameters()),
    )

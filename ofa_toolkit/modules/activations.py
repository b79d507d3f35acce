"""The activations a `LayerSpec` may name, as functions and as ordinary torch modules."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from ofa_toolkit.spaces.layer_spec import Activation

_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "h_swish": F.hardswish,
    "h_sigmoid": F.hardsigmoid,
    "swish": F.silu,
    "sigmoid": F.sigmoid,
}
_MODULES: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "h_swish": nn.Hardswish,
    "h_sigmoid": nn.Hardsigmoid,
    "swish": nn.SiLU,
    "sigmoid": nn.Sigmoid,
}


def activate(x: Tensor, activation: Activation | None) -> Tensor:
    """Apply the named activation; None leaves `x` as it is."""
    return x if activation is None else _FUNCTIONS[activation](x)


def activation_module(activation: Activation) -> nn.Module:
    """The torch module of the named activation."""
    return _MODULES[activation]()

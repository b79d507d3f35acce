"""Batch norm folded into the convolution before it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Folded = dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]]


def fold_batchnorm(network: nn.Module) -> Folded:
    """Weights and biases of an extracted network with every batch norm folded in.

    Computed in float64, returned in float32. The network is left unchanged.

    Args:
        network: From `extract` or `build_network`, in any mode; running statistics are used.

    Returns:
        Layer name to weight `(out, in / groups, k, k)` or `(out, in)`, and bias `(out,)` or None.
    """
    modules = dict(network.named_modules())
    folded: Folded = {}
    for name, module in modules.items():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        layer = name.rpartition(".")[0]
        weight = module.weight.detach().cpu().double().numpy()
        bias = None if module.bias is None else module.bias.detach().cpu().double().numpy()
        norm = modules.get(f"{layer}.bn")
        if norm is not None:
            assert isinstance(norm, _BatchNorm)  # also the synchronised kind
            mean, variance, scale, shift = (
                tensor.detach().cpu().double().numpy()
                for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
                if tensor is not None
            )
            factor = scale / np.sqrt(variance + norm.eps)
            weight = weight * factor.reshape(-1, *([1] * (weight.ndim - 1)))
            bias = shift + ((0.0 if bias is None else bias) - mean) * factor
        folded[layer] = (weight.astype(np.float32), None if bias is None else bias.astype(np.float32))
    return folded


def fold_batchnorm_in_place(network: nn.Module) -> None:
    """Replace every convolution and its batch norm by one convolution; of no use for training afterwards.

    In evaluation mode the output is the same to float32 rounding, and a pass over each convolution's output
    is saved.

    Args:
        network: From `extract` or `build_network`.
    """
    for name, (weight, bias) in fold_batchnorm(network).items():
        layer = network.get_submodule(name)
        if "bn" not in layer._modules or bias is None:
            continue
        conv = layer.get_submodule("conv")
        assert isinstance(conv, nn.Conv2d)
        folded = torch.from_numpy(weight).to(conv.weight.device, memory_format=torch.channels_last)
        conv.weight = nn.Parameter(folded, requires_grad=False)
        conv.bias = nn.Parameter(torch.from_numpy(bias).to(conv.weight.device), requires_grad=False)
        del layer._modules["bn"]

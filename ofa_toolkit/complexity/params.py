"""Learned parameters of an extracted network."""

from __future__ import annotations

from collections.abc import Iterable

from ofa_toolkit.spaces.layer_spec import LayerSpec


def layer_params(layer: LayerSpec) -> int:
    """Weights, bias and batch-norm scale and shift of one layer; running statistics do not count."""
    if not layer.has_weights:
        return 0
    weights = layer.kernel_size**2 * (layer.in_channels // layer.groups) * layer.out_channels
    return weights + layer.out_channels * (int(layer.bias) + 2 * int(layer.batch_norm))


def count_params(layers: Iterable[LayerSpec]) -> int:
    """Parameters of a network."""
    return sum(layer_params(layer) for layer in layers)

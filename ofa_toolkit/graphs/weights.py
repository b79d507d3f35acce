"""Folded weights: what each convolution and linear layer multiplies by and adds, batch norm included."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.errors import MismatchError
from ofa_toolkit.spaces.layer_spec import LayerSpec

Array = npt.NDArray[np.float32]

FoldedWeights = Mapping[str, tuple[Array, Array | None]]
"""Layer name -> (weight, bias or None). Convolution `(out, in / groups, k, k)`, linear `(out, in)`."""


def weight_shape(layer: LayerSpec) -> tuple[int, ...]:
    """Shape of the weight of a convolution or linear layer."""
    if layer.kind == "linear":
        return (layer.out_channels, layer.in_channels)
    return (layer.out_channels, layer.in_channels // layer.groups, layer.kernel_size, layer.kernel_size)


def has_folded_bias(layer: LayerSpec) -> bool:
    """Whether the layer adds a bias once its batch norm is folded into it."""
    return layer.bias or layer.batch_norm


def random_weights(
    layers: Sequence[LayerSpec], generator: np.random.Generator
) -> dict[str, tuple[Array, Array | None]]:
    """Seeded weights that keep the size of activations from layer to layer (He et al. 2015).

    Good for timing and for tests of the graph; the network predicts nothing.

    Args:
        layers: Any layers; those without weights get no entry.
        generator: Source of randomness.
    """
    weights: dict[str, tuple[Array, Array | None]] = {}
    for layer in layers:
        if not layer.has_weights:
            continue
        shape = weight_shape(layer)
        scale = math.sqrt(2.0 / math.prod(shape[1:]))
        weight = generator.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        bias = None
        if has_folded_bias(layer):
            bias = generator.standard_normal(layer.out_channels, dtype=np.float32) * np.float32(0.1)
        weights[layer.name] = (weight, bias)
    return weights


def check_weights(layers: Sequence[LayerSpec], weights: FoldedWeights) -> None:
    """Raise `MismatchError` unless `weights` holds exactly what `layers` need, in their shapes."""
    needed = {layer.name: layer for layer in layers if layer.has_weights}
    if unknown := sorted(set(weights) - set(needed)):
        raise MismatchError(f"Weights for '{unknown[0]}', but the network has no such layer.")
    for name, layer in needed.items():
        if name not in weights:
            raise MismatchError(f"No weights for layer '{name}'.")
        weight, bias = weights[name]
        if weight.shape != weight_shape(layer):
            raise MismatchError(
                f"Weight of layer '{name}' has shape {weight.shape}; the layer takes {weight_shape(layer)}."
            )
        if has_folded_bias(layer) != (bias is not None):
            expected = "a bias" if has_folded_bias(layer) else "no bias"
            raise MismatchError(f"Layer '{name}' takes {expected} after folding.")
        if bias is not None and bias.shape != (layer.out_channels,):
            raise MismatchError(
                f"Bias of layer '{name}' has shape {bias.shape}; the layer takes ({layer.out_channels},)."
            )


def identify_weights(weights: FoldedWeights) -> str:
    """SHA-256 over names, shapes and float32 values of folded weights, layers sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        for array in weights[name]:
            digest.update(f"{name} {None if array is None else array.shape}\n".encode())
            if array is not None:
                digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()

"""Multiply-accumulates: one MAC is one multiply and one add."""

from __future__ import annotations

from collections.abc import Iterable

from ofa_toolkit.spaces.layer_spec import LayerSpec


def layer_macs(layer: LayerSpec) -> int:
    """MACs of one layer for one image; only convolutions and linear layers count.

    Batch norm, activations, pools, sums and biases count nothing, as in OFA and DyNAS-T.
    """
    if not layer.has_weights:
        return 0
    window = layer.kernel_size * layer.kernel_size * (layer.in_channels // layer.groups)
    return window * layer.out_channels * layer.out_size * layer.out_size


def count_macs(layers: Iterable[LayerSpec]) -> int:
    """MACs of a network for one image."""
    return sum(layer_macs(layer) for layer in layers)

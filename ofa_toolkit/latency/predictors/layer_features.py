"""Additive features of layers: the amounts of work, traffic and launches that explain latency.

Every column is a sum over layers, so a unit of a space has fixed values for each combination of its genes
and a population's features are sums of look-ups. Amounts are in millions (of MACs, values or weights).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity.macs import layer_macs
from ofa_toolkit.spaces.layer_spec import LayerSpec

Features = npt.NDArray[np.float64]

LAYER_FEATURES: tuple[str, ...] = (
    "pointwise_macs",
    "pointwise_in",
    "pointwise_out",
    "pointwise_weights",
    "depthwise_macs",
    "depthwise_in",
    "depthwise_out",
    "depthwise_weights",
    "dense_macs",
    "dense_in",
    "dense_out",
    "dense_weights",
    "vector_weights",
    "smooth_out",
    "add_out",
    "scale_out",
    "pool_in",
    "num_convolutions",
    "num_vector_layers",
    "num_scales",
    "num_adds",
)
"""`pointwise`: 1x1 convolutions on maps. `depthwise`: one kernel per channel. `dense`: larger kernels over
all (or groups of) channels. `vector`: convolutions and linear layers on maps of side 1 (squeeze-excite
branches, classifier). `smooth_out`: values passing through h-swish, swish or sigmoid on maps. `_in`, `_out`:
values read and written. `num_`: launches, in units."""

_COLUMN = {name: index for index, name in enumerate(LAYER_FEATURES)}
_MILLION = 1e6
_SMOOTH = ("h_swish", "swish", "h_sigmoid", "sigmoid")


def layer_features(layers: Iterable[LayerSpec]) -> Features:
    """Features of a run of layers for one image, `(len(LAYER_FEATURES),)`; zeros for none."""
    total = [0.0] * len(LAYER_FEATURES)

    def add(name: str, amount: float) -> None:
        total[_COLUMN[name]] += amount

    for layer in layers:
        read = layer.in_channels * layer.in_size**2 / _MILLION
        written = layer.out_channels * layer.out_size**2 / _MILLION
        if layer.has_weights:
            macs = layer_macs(layer) / _MILLION
            weights = macs / layer.out_size**2
            if layer.in_size == 1:
                add("vector_weights", weights)
                add("num_vector_layers", 1)
                continue
            kind = _convolution_kind(layer)
            for name, amount in (("macs", macs), ("in", read), ("out", written), ("weights", weights)):
                add(f"{kind}_{name}", amount)
            add("num_convolutions", 1)
        elif layer.kind == "add":
            add("add_out", written)
            add("num_adds", 1)
        elif layer.kind == "scale":
            add("scale_out", written)
            add("num_scales", 1)
        elif layer.kind in ("global_avg_pool", "avg_pool", "max_pool"):
            add("pool_in", read)
        if layer.activation in _SMOOTH:
            add("smooth_out", written)
    return np.array(total)


def _convolution_kind(layer: LayerSpec) -> str:
    if layer.is_depthwise:
        return "depthwise"
    return "pointwise" if layer.kernel_size == 1 and layer.groups == 1 else "dense"

"""What decides how long a layer or a unit takes, as text: shapes and operations, never names of layers.

And where in a unit's table a subnet looks it up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import Unit


def layer_signature(layer: LayerSpec) -> str:
    """One layer: `conv 24x56 72x28 k5 s2 g72 h_swish` (channels x map side in and out)."""
    parts = [
        layer.kind,
        f"{layer.in_channels}x{layer.in_size}",
        f"{layer.out_channels}x{layer.out_size}",
    ]
    if layer.kind not in ("linear", "add", "scale", "concat", "activation", "global_avg_pool"):
        parts.append(f"k{layer.kernel_size}")
        if layer.stride != 1:
            parts.append(f"s{layer.stride}")
        if layer.padding != layer.kernel_size // 2:
            parts.append(f"p{layer.padding}" + (f"+{layer.extra_padding}" if layer.extra_padding else ""))
    if layer.groups != 1:
        parts.append(f"g{layer.groups}")
    if layer.has_weights and not (layer.bias or layer.batch_norm):
        parts.append("nobias")
    if layer.activation is not None:
        parts.append(layer.activation)
    return " ".join(parts)


def unit_signature(layers: Sequence[LayerSpec]) -> str:
    """A run of layers with the way they are connected; equal for equal work, whatever the layers are called.

    An input is written as the distance back to the layer that produces it, inputs from outside the run
    as `^0`, `^1` in order of appearance.
    """
    position = {layer.name: index for index, layer in enumerate(layers)}
    outside: dict[str, int] = {}
    lines = []
    for index, layer in enumerate(layers):
        sources = [
            f"-{index - position[name]}" if name in position else f"^{outside.setdefault(name, len(outside))}"
            for name in layer.inputs
        ]
        lines.append(f"{layer_signature(layer)} <{','.join(sources)}>")
    return "; ".join(lines)


def unit_at(row: npt.NDArray[np.integer], unit: Unit) -> int:
    """Row of a unit's table that one encoded subnet uses."""
    index = 0
    for column, size in zip(unit.columns, unit.shape, strict=True):
        index = index * size + int(row[column])
    return index

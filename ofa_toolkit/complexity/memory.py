"""Live activation memory, from which layer reads which."""

from __future__ import annotations

from collections.abc import Sequence

from ofa_toolkit.spaces.layer_spec import LayerSpec


def peak_activation_elements(layers: Sequence[LayerSpec]) -> int:
    """Largest number of activation values alive at once for one image.

    A layer's inputs and output are alive while it runs; an output stays alive until its last reader has
    run. Batch norm and activation work in place. Multiply by the bytes of the precision (4 for fp32).
    Inputs from outside the list (the image, or the layer before a part of a network) are alive until
    their last reader in the list.
    """
    last_reader: dict[str, int] = {}
    size: dict[str, int] = {}
    for position, layer in enumerate(layers):
        for name in layer.inputs:
            last_reader[name] = position
            size.setdefault(name, layer.in_channels * layer.in_size**2)
        size[layer.name] = layer.out_channels * layer.out_size**2
    produced = {layer.name for layer in layers}
    alive = {name for name in size if name not in produced}
    peak = 0
    for position, layer in enumerate(layers):
        alive.add(layer.name)
        peak = max(peak, sum(size[name] for name in alive))
        alive -= {name for name in alive if last_reader.get(name, -1) == position}
    return peak

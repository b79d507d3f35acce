"""The layers that all networks of a step share: run forward once and backward once.

Stem and first block are the same in every subnet of the MBConv spaces, and all networks of a step see the
same images: the same layers with the same weights give the same outputs. Their gradient is linear in that of
their outputs, so the networks' gradients may be added there first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ofa_toolkit.modules.slices import gradients_in_place
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, LayerSpec
from ofa_toolkit.supernets import Supernet

Layers = Sequence[LayerSpec]


def common_prefix(networks: Sequence[Layers]) -> int:
    """How many leading layers several networks share; none of a single one, and none that drop out."""
    if len(networks) < 2:
        return 0
    count = 0
    for layers in zip(*networks, strict=False):
        if layers[0].kind == "linear" or any(layer != layers[0] for layer in layers[1:]):
            break
        count += 1
    return count


class SharedPrefix:
    """Runs the shared layers of several networks once, in training mode.

    Losses are equal, and gradients to float rounding. The running statistics move as far as if each network
    had run.

    Args:
        supernet: Whose layers.
        networks: All networks of the step.
        images: (B, 3, R, R).
    """

    def __init__(self, supernet: Supernet, networks: Sequence[Layers], images: Tensor) -> None:
        self._supernet = supernet
        self._length = common_prefix(networks)
        prefix = networks[0][: self._length]
        made = {NETWORK_INPUT, *(layer.name for layer in prefix)}
        read = {name for layers in networks for layer in layers[self._length :] for name in layer.inputs}
        with gradients_in_place() as self._slices, _moving(supernet, prefix, len(networks)):
            self._outputs = supernet.run_part(prefix, {NETWORK_INPUT: images}, made & read)
        self._leaves = {
            name: output.detach().requires_grad_() if output.requires_grad else output
            for name, output in self._outputs.items()
        }

    def run(self, layers: Layers, *, use_dropout: bool) -> Tensor:
        """The logits of one of the networks; its backward pass ends where the shared layers do."""
        last = layers[-1].name
        rest = layers[self._length :]
        return self._supernet.run_part(rest, self._leaves, {last}, use_dropout=use_dropout)[last]

    def backward(self) -> None:
        """Carry the summed gradients of all networks on through the shared layers."""
        names = [name for name, leaf in self._leaves.items() if leaf.requires_grad and leaf.grad is not None]
        if names:
            torch.autograd.backward(
                [self._outputs[name] for name in names], [self._leaves[name].grad for name in names]
            )
            self._slices.add()


@contextmanager
def _moving(supernet: Supernet, layers: Layers, times: int) -> Iterator[None]:
    """Let one pass move the running statistics of some layers as far as so many would."""
    norms = [
        norm
        for layer in layers
        if layer.has_weights and (norm := supernet.layer(layer.name).bn) is not None and norm.momentum
    ]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1 - (1 - norm.momentum) ** times
        norm.num_batches_tracked.add_(times - 1)
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum

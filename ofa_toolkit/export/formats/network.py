"""A network in torch with the ends of its file, which converters of torch programs read."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ofa_toolkit.export.ends import Ends
from ofa_toolkit.export.formats.format import Array


class NetworkWithEnds(nn.Module):
    """A network in torch that takes and gives what a file does, see `Ends`.

    Args:
        network: From normalised images `(N, 3, R, R)` to logits `(N, classes)`.
        ends: Input and output of the file.
        scale: Factor of every pixel, `(1, 3, 1, 1)`; None where the file takes normalised images.
        shift: Amount that is added after `scale`, shaped alike; None where the file takes normalised images.
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, network: nn.Module, ends: Ends, scale: Array | None, shift: Array | None) -> None:
        super().__init__()
        self.network, self._ends = network, ends
        for name, values in (("scale", scale), ("shift", shift)):
            self.register_buffer(name, None if values is None else torch.from_numpy(values))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """One output, or values and indices of the likeliest classes."""
        values = images.float()
        if self._ends.layout == "NHWC":
            values = values.permute(0, 3, 1, 2)
        if self.scale is not None and self.shift is not None:
            values = values * self.scale + self.shift
        logits: Tensor = self.network(values)
        if self._ends.output == "logits":
            return logits
        shares = logits.softmax(1)
        if self._ends.k is None:
            return shares
        top = shares.topk(self._ends.k, 1)
        return top.values, top.indices


def in_half(network: nn.Module) -> nn.Module:
    """A copy of such a network that computes logits in half precision; its ends stay as they are."""
    copied = copy.deepcopy(network)
    copied.network = _InHalf(copied.get_submodule("network").half())
    return copied


class _InHalf(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.half())
        return logits.float()

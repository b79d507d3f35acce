"""Sort the middle channels of every elastic block so that the leading ones matter most.

Narrower choices keep leading channels; sorting by importance makes them the good ones. No subnet at the
largest expand ratio changes its output. Source: OFA (Cai et al. 2020), section 3, "Elastic Width";
the protected widths are those of its reference code (`expand_ratio_stage`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.rounding import middle_channels
from ofa_toolkit.supernets.supernet import Supernet

# Larger than any sum of absolute weights, so that the ranges between protected widths stay apart. The value
# is the reference's. In float32 a wall costs resolution: importances that differ by less than about 0.01 tie
# behind one, and ties fall as in the reference because its sort is used as well.
_WALL = 1e5


@dataclass(frozen=True)
class ChannelMove:
    """One reordering: entries of a tensor along a dimension.

    Attributes:
        name: Name of a parameter or buffer of the supernet.
        dim: The dimension that was reordered.
        order: Old index of each new position.
    """

    name: str
    dim: int
    order: Tensor


@torch.no_grad()
def sort_channels(
    supernet: Supernet,
    *,
    num_protected_widths: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    input_norms: Mapping[str, Tensor] | None = None,
) -> list[ChannelMove]:
    """Sort middle channels by the L1 norm of the weights that read them, largest first.

    Where it is known how strong the channels are on images, that counts too: the L2 norm of the weights times
    the channel's root mean square is how much the reader's output moves without the channel.

    Squeeze-excite units are sorted too. Unlike the reference, the optimizer's state (momentum) moves with
    its parameters. Sort once: a second call after more training reorders channels that elastic
    training has already assigned to subnets.

    Args:
        supernet: Changed in place.
        num_protected_widths: How many of the larger expand ratios, after the largest, keep their set of
            channels: 0 lets every channel move anywhere, 1 keeps the second largest ratio's channels
            together, and so on.
        input_norms: Root mean square (in,) of each layer's inputs by its name; None for weights alone.
        optimizer: Optimizer whose state of a parameter's shape is reordered like the parameter.

    Returns:
        The moves in order, to repeat on a copy with `apply_moves`.
    """
    tensors = dict(supernet.state_dict(keep_vars=True))
    moves: list[ChannelMove] = []

    def move(name: str, dim: int, order: Tensor) -> None:
        done = ChannelMove(name, dim, order)
        _apply(tensors[name], done, optimizer)
        moves.append(done)

    by_block = _blocks(lower(supernet.space, supernet.space.largest()))
    for prefix, layers in by_block:
        _, stage_index, block_index = prefix.split(".")
        stage = supernet.space.stages[int(stage_index)]
        scale = stage.expand_scale(int(block_index))
        order = torch.empty(0)
        for producers, consumer in _CHAINS[stage.block]:
            chain = [layers[part] for part in producers if part in layers]
            reader = layers[consumer]
            importance = _importance(
                tensors[f"{reader.name}.conv.weight"], (input_norms or {}).get(reader.name)
            )
            base = chain[-1].in_channels if stage.block == "mbconv" else stage.widths[-1]
            widths = [
                middle_channels(base, ratio * scale) for ratio in sorted(stage.expand_ratios, reverse=True)
            ]
            _build_walls(importance, widths, num_protected_widths)
            order = _descending(importance)
            move(f"{reader.name}.conv.weight", 1, order)
            for layer in chain:
                for name in _rows(layer, tensors):
                    move(name, 0, order)
        if "se.reduce" in layers:
            _sort_squeeze_excite(prefix, tensors, order, move)
    return moves


@torch.no_grad()
def apply_moves(module: nn.Module, moves: Sequence[ChannelMove]) -> None:
    """Repeat the moves of `sort_channels` on a module with the same names, such as an averaged copy."""
    tensors = dict(module.state_dict(keep_vars=True))
    for done in moves:
        _apply(tensors[done.name], done, None)


# Which layers of a block produce its middle channels, and which one reads them, last pair first.
_CHAINS: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "mbconv": ((("depthwise", "expand"), "project"),),
    "bottleneck": ((("conv2",), "conv3"), (("conv1",), "conv2")),
    "resnet_stem": (),
}


def _blocks(layers: Sequence[LayerSpec]) -> Iterator[tuple[str, dict[str, LayerSpec]]]:
    """Each block's prefix and its weighted layers by the rest of their names."""
    blocks: dict[str, dict[str, LayerSpec]] = {}
    for layer in layers:
        if layer.has_weights and layer.name.startswith("stages."):
            first, stage, block, *rest = layer.name.split(".")
            blocks.setdefault(f"{first}.{stage}.{block}", {})[".".join(rest)] = layer
    yield from blocks.items()


def _importance(reader_weight: Tensor, input_norm: Tensor | None = None) -> Tensor:
    """Importance of each channel, `(in,)`, from the weight `(out, in, k, k)` that reads it."""
    weight = reader_weight.detach()
    if input_norm is None:
        return weight.abs().sum((0, 2, 3))
    return weight.square().sum((0, 2, 3)).sqrt() * input_norm.to(weight)


def _build_walls(importance: Tensor, widths: Sequence[int], num_protected_widths: int) -> None:
    """Lower whole ranges behind each protected width so far that sorting never crosses it.

    Args:
        importance: Changed in place.
        widths: Middle widths of all expand ratios, largest first.
        num_protected_widths: Number of widths after the largest that are walls.
    """
    # Channels [w2, w1) between two protected widths sink by the same amount, those further back by one wall
    # more. A descending sort therefore permutes channels inside a range and never across its ends, so the set
    # of the first w2 channels stays what the subnets of that width were trained with.
    right, offset = len(importance), -len(widths) * _WALL
    for left in widths[: num_protected_widths + 1]:
        importance[left:right] += offset
        offset += _WALL
        right = left


def _descending(importance: Tensor) -> Tensor:
    """Order of the channels, most important first; equal ones in the order of the reference's sort."""
    return torch.sort(importance, dim=0, descending=True)[1]


def _rows(layer: LayerSpec, tensors: dict[str, Tensor]) -> list[str]:
    """Tensors of a layer whose first dimension is its output channels."""
    parts = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    return [f"{layer.name}.{part}" for part in parts if f"{layer.name}.{part}" in tensors]


def _sort_squeeze_excite(prefix: str, tensors: dict[str, Tensor], order: Tensor, move: object) -> None:
    """Follow the channels' new order, then sort the hidden units by what reads them."""
    assert callable(move)
    reduce, expand = f"{prefix}.se.reduce.conv", f"{prefix}.se.expand.conv"
    move(f"{expand}.weight", 0, order)
    move(f"{expand}.bias", 0, order)
    move(f"{reduce}.weight", 1, order)
    hidden = _descending(_importance(tensors[f"{expand}.weight"]))
    move(f"{expand}.weight", 1, hidden)
    move(f"{reduce}.weight", 0, hidden)
    move(f"{reduce}.bias", 0, hidden)


def _apply(tensor: Tensor, move: ChannelMove, optimizer: torch.optim.Optimizer | None) -> None:
    tensor.data.copy_(tensor.data.index_select(move.dim, move.order.to(tensor.device)))
    state = {} if optimizer is None else optimizer.state.get(tensor, {})
    for value in state.values():
        if isinstance(value, Tensor) and value.shape == tensor.shape:
            value.copy_(value.index_select(move.dim, move.order.to(value.device)))

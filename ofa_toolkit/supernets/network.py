"""A plain torch network from a `LayerSpec` list: standard modules only, ordinary names."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn

from ofa_toolkit.modules import activation_module
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, LayerSpec

WeightSource = Callable[[LayerSpec], tuple[Tensor, Tensor | None]]


def build_network(
    layers: Sequence[LayerSpec], *, dropout: float = 0.0, weights: WeightSource | None = None
) -> fx.GraphModule:
    """Build the network a list of layers describes.

    The result is a `torch.fx.GraphModule` of `torch.nn` modules: it saves, loads, scripts and exports
    without this package. Parameters are named `<layer>.conv.weight`, `<layer>.bn.bias`,
    `<layer>.linear.weight` and so on.

    Args:
        layers: In execution order; the last one is the output.
        dropout: Probability of a dropout before each linear layer; 0 adds none.
        weights: Gives weight and bias of each layer that has them, taken over as they are; without it
            torch's usual initialisation applies.

    Returns:
        Network from `(N, 3, R, R)` images to the last layer's output, `(N, num_classes)` for a linear one.
    """
    graph = fx.Graph()
    modules: dict[str, nn.Module] = {}
    outputs = {NETWORK_INPUT: graph.placeholder("images")}
    for layer in layers:
        inputs = tuple(outputs[name] for name in layer.inputs)
        parts = _parts(layer, dropout, weights)
        if layer.kind in _JOINS:
            node = graph.call_function(_JOINS[layer.kind], inputs)
        elif layer.kind == "concat":
            node = graph.call_function(torch.cat, (list(inputs), 1))
        else:
            node = inputs[0]
        if parts:
            modules[layer.name] = nn.Sequential(parts)
            node = graph.create_node("call_module", layer.name, (node,))
        outputs[layer.name] = node
    graph.output(outputs[layers[-1].name])
    return fx.GraphModule(modules, graph, class_name="Network")


_JOINS = {"add": operator.add, "scale": operator.mul}


def _parts(layer: LayerSpec, dropout: float, weights: WeightSource | None) -> OrderedDict[str, nn.Module]:
    """The modules of one layer in order, by the names their parameters carry."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if layer.kind == "linear":
        parts["flatten"] = nn.Flatten()
        if dropout > 0:
            parts["dropout"] = nn.Dropout(dropout)
        parts["linear"] = _weighted_module(layer, weights)
    elif layer.kind == "conv":
        parts["conv"] = _weighted_module(layer, weights)
        if layer.batch_norm:
            parts["bn"] = nn.BatchNorm2d(layer.out_channels, eps=layer.bn_eps)
    elif layer.kind in _POOLS:
        parts["pool"] = _POOLS[layer.kind](layer)
    if layer.activation is not None:
        parts["act"] = activation_module(layer.activation)
    return parts


def _window(layer: LayerSpec) -> dict[str, int | bool]:
    return {
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "padding": layer.padding,
        "ceil_mode": layer.ceil_mode,
    }


_POOLS: dict[str, Callable[[LayerSpec], nn.Module]] = {
    "global_avg_pool": lambda _layer: nn.AdaptiveAvgPool2d(1),
    "avg_pool": lambda layer: nn.AvgPool2d(**_window(layer)),  # type: ignore[arg-type]
    "max_pool": lambda layer: nn.MaxPool2d(**_window(layer)),  # type: ignore[arg-type]
}


def _weighted_module(layer: LayerSpec, weights: WeightSource | None) -> nn.Module:
    # On the meta device construction costs no memory and no random numbers; real tensors follow.
    device = None if weights is None else "meta"
    module: nn.Module
    if layer.kind == "linear":
        module = nn.Linear(layer.in_channels, layer.out_channels, bias=layer.bias, device=device)
    else:
        module = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            groups=layer.groups,
            bias=layer.bias,
            device=device,
        )
    if weights is not None:
        weight, bias = weights(layer)
        module.weight = nn.Parameter(weight)
        if bias is not None:
            module.bias = nn.Parameter(bias)
    return module

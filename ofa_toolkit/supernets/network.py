"""A plain torch network from a `LayerSpec` list: standard modules only, ordinary names."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn

from ofa_toolkit.modules import activation_module
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, LayerSpec
from ofa_toolkit.supernets.supernet import add_module_at

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
    root, graph = nn.Module(), fx.Graph()
    outputs = {NETWORK_INPUT: graph.placeholder("images")}
    for layer in layers:
        inputs = [outputs[name] for name in layer.inputs]
        outputs[layer.name] = _add_layer(root, graph, layer, inputs, dropout, weights)
    graph.output(outputs[layers[-1].name])
    # GraphModule copies every module the graph calls from `root` to itself.
    return fx.GraphModule(root, graph, class_name="Network")


def _add_layer(
    root: nn.Module,
    graph: fx.Graph,
    layer: LayerSpec,
    inputs: list[fx.Node],
    dropout: float,
    weights: WeightSource | None,
) -> fx.Node:
    def call(part: str, module: nn.Module, node: fx.Node) -> fx.Node:
        target = f"{layer.name}.{part}"
        add_module_at(root, target, module)
        return graph.create_node("call_module", target, (node,))

    node = inputs[0]
    if layer.has_weights:
        if layer.kind == "linear":
            node = graph.call_function(torch.flatten, (node, 1))
            if dropout > 0:
                node = call("dropout", nn.Dropout(dropout), node)
        node = call("linear" if layer.kind == "linear" else "conv", _weighted_module(layer, weights), node)
        if layer.batch_norm:
            node = call("bn", nn.BatchNorm2d(layer.out_channels, eps=layer.bn_eps), node)
    elif layer.kind in ("add", "scale"):
        node = graph.call_function(operator.add if layer.kind == "add" else operator.mul, tuple(inputs))
    elif layer.kind == "concat":
        node = graph.call_function(torch.cat, (list(inputs), 1))
    elif layer.kind != "activation":
        node = call("pool", _pool_module(layer), node)
    if layer.activation is not None:
        node = call("act", activation_module(layer.activation), node)
    return node


def _pool_module(layer: LayerSpec) -> nn.Module:
    if layer.kind == "global_avg_pool":
        return nn.AdaptiveAvgPool2d(1)
    pool = nn.AvgPool2d if layer.kind == "avg_pool" else nn.MaxPool2d
    return pool(layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)


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

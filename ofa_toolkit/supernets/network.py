"""A plain torch network from a `LayerSpec` list: standard modules only, ordinary names."""

from __future__ import annotations

import operator
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from ofa_toolkit.modules import activation_module
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, LayerSpec

Tensors = Mapping[str, Tensor]
TensorSource = Callable[[LayerSpec], tuple[Tensors, Tensors | None]]
"""Gives the tensors of a layer's convolution or linear part, and of its batch norm where it has one."""


def build_network(
    layers: Sequence[LayerSpec],
    *,
    dropout: float = 0.0,
    bn_momentum: float = 0.1,
    tensors_of: TensorSource | None = None,
    outputs: Mapping[str, str] | None = None,
    module_class: type[fx.GraphModule] = fx.GraphModule,
) -> fx.GraphModule:
    """Build the network a list of layers describes.

    The result is a `torch.fx.GraphModule` of `torch.nn` modules: it saves, loads, scripts and exports
    without this package. Parameters are named `<layer>.conv.weight`, `<layer>.bn.bias`,
    `<layer>.linear.weight` and so on.

    Args:
        layers: In execution order; the last one is the output.
        dropout: Probability of a dropout before each linear layer; 0 adds none.
        bn_momentum: Momentum of every batch norm.
        tensors_of: Gives the tensors of each layer that has weights, taken over as they are; without it
            torch's usual initialisation applies.
        outputs: Layers whose outputs are given, in a dictionary under these keys; None for the last layer's
            alone.
        module_class: Of the result.

    Returns:
        Network from `(N, 3, R, R)` images to the last layer's output, `(N, num_classes)` for a linear one.
    """
    graph = fx.Graph()
    modules: dict[str, nn.Module] = {}
    nodes = {NETWORK_INPUT: graph.placeholder("images")}
    for name, chain in _chains(layers):
        first, last = chain[0], chain[-1]
        inputs = tuple(nodes[source] for source in first.inputs)
        if first.kind in _JOINS:
            node = graph.call_function(_JOINS[first.kind], inputs)
        elif first.kind == "concat":
            node = graph.call_function(torch.cat, (list(inputs), 1))
        else:
            node = inputs[0]
        parts = {layer.name: _parts(layer, dropout, bn_momentum, tensors_of) for layer in chain}
        if len(chain) > 1:
            children = {key.rpartition(".")[2]: nn.Sequential(part) for key, part in parts.items()}
            modules[name] = nn.Sequential(OrderedDict(children))
        elif parts[name]:
            modules[name] = nn.Sequential(parts[name])
        if name in modules:
            node = graph.create_node("call_module", name, (node,))
        node.meta["layer"] = last.name
        nodes[last.name] = node
    if outputs is None:
        graph.output(nodes[layers[-1].name])
    else:
        graph.output({key: nodes[name] for key, name in outputs.items()})
    return module_class(modules, graph, class_name="Network")


def _chains(layers: Sequence[LayerSpec]) -> Iterator[tuple[str, list[LayerSpec]]]:
    """Cut the layers into modules: runs that make up a whole `a.b.*` and feed only each other, or one layer.

    A run of several becomes one `Sequential` named `a.b`; parameters are named alike either way.
    """
    readers = Counter(name for layer in layers for name in layer.inputs)
    # A join is an operator, and a module only where an activation follows.
    in_modules = [layer for layer in layers if layer.kind not in _JOINS or layer.activation is not None]
    families = Counter(prefix for layer in in_modules for prefix in _prefixes(layer))
    position = 0
    while position < len(layers):
        parent = layers[position].name.rpartition(".")[0]
        end = position + 1
        while (
            end < len(layers)
            and layers[position].kind not in _JOINS
            and layers[end].name.rpartition(".")[0] == parent
            and layers[end].inputs == (layers[end - 1].name,)
            and readers[layers[end - 1].name] == 1
        ):
            end += 1
        if parent and families[parent] == end - position > 1:
            yield parent, list(layers[position:end])
        else:
            end = position + 1
            yield layers[position].name, [layers[position]]
        position = end


def _prefixes(layer: LayerSpec) -> Iterator[str]:
    """`a`, `a.b`, ... of a layer named `a.b.c`."""
    parts = layer.name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


_JOINS = {"add": operator.add, "scale": operator.mul}


def _parts(
    layer: LayerSpec, dropout: float, bn_momentum: float, tensors_of: TensorSource | None
) -> OrderedDict[str, nn.Module]:
    """The modules of one layer in order, by the names their parameters carry."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    weighted, norm = (None, None) if tensors_of is None or not layer.has_weights else tensors_of(layer)
    if layer.kind == "linear":
        parts["flatten"] = nn.Flatten()
        if dropout > 0:
            parts["dropout"] = nn.Dropout(dropout)
        parts["linear"] = _linear(layer, weighted)
    elif layer.kind == "conv":
        if layer.extra_padding:
            parts["pad"] = nn.ZeroPad2d((0, layer.extra_padding, 0, layer.extra_padding))
        parts["conv"] = _conv(layer, weighted)
        if layer.batch_norm:
            parts["bn"] = _batch_norm(layer, bn_momentum, norm)
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


class _BareConv2d(nn.Conv2d):
    """Skips the initialisation: its tensors are given."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class _BareLinear(nn.Linear):
    """Skips the initialisation: its tensors are given."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


def _conv(layer: LayerSpec, tensors: Tensors | None) -> nn.Module:
    shape = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
    if tensors is None:
        return nn.Conv2d(*shape, groups=layer.groups, bias=layer.bias)
    module: nn.Module = _BareConv2d(*shape, groups=layer.groups, bias=layer.bias, device="meta")
    return _filled(module, nn.Conv2d, tensors)


def _linear(layer: LayerSpec, tensors: Tensors | None) -> nn.Module:
    if tensors is None:
        return nn.Linear(layer.in_channels, layer.out_channels, bias=layer.bias)
    module: nn.Module = _BareLinear(layer.in_channels, layer.out_channels, bias=layer.bias, device="meta")
    return _filled(module, nn.Linear, tensors)


def _batch_norm(layer: LayerSpec, momentum: float, tensors: Tensors | None) -> nn.Module:
    if tensors is None:
        return nn.BatchNorm2d(layer.out_channels, layer.bn_eps, momentum)
    # Built without tensors, which would be replaced at once.
    module = nn.BatchNorm2d(
        layer.out_channels, layer.bn_eps, momentum, affine=False, track_running_stats=False
    )
    module.affine = module.track_running_stats = True
    return _filled(module, nn.BatchNorm2d, tensors)


def _filled(module: nn.Module, kind: type[nn.Module], tensors: Tensors) -> nn.Module:
    """Make it a plain module of `kind` that holds the given tensors.

    Usual construction would spend half of an extraction's time on initial values.
    """
    module.__class__ = kind
    for name, tensor in tensors.items():
        if name in module._parameters:
            module._parameters[name] = nn.Parameter(tensor)
        else:
            module._buffers[name] = tensor
    return module

"""MACs and parameters of an ONNX file, read from its own graph: what the file holds, not what it should."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from ofa_toolkit.graphs.weighted_nodes import weighted_nodes
from ofa_toolkit.graphs.weights import has_folded_bias, weight_shape
from ofa_toolkit.spaces.layer_spec import LayerSpec


@dataclass(frozen=True, kw_only=True)
class GraphCounts:
    """Figures of a graph.

    Attributes:
        macs: Multiply-accumulates of one image.
        params: Elements of the weights and biases of convolutions and linear layers.
        num_nodes: All nodes.
        operators: Operator -> number of nodes.
    """

    macs: int
    params: int
    num_nodes: int
    operators: dict[str, int]


def count_folded_params(layers: Iterable[LayerSpec]) -> int:
    """Parameters of a network whose batch norms are folded: weights, and one bias a channel."""
    return sum(
        math.prod(weight_shape(layer)) + layer.out_channels * int(has_folded_bias(layer))
        for layer in layers
        if layer.has_weights
    )


def count_graph(model: onnx.ModelProto) -> GraphCounts:
    """Count a model's convolutions and matrix products.

    Weights may be stored quantised or in half precision.

    Raises:
        ExportError: A convolution or matrix product whose weights are not stored in the file, or whose
            output size cannot be inferred.
    """
    nodes = weighted_nodes(model)
    operators: dict[str, int] = {}
    for node in model.graph.node:
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
    return GraphCounts(
        macs=sum(node.macs for node in nodes),
        params=sum(node.params for node in nodes),
        num_nodes=len(model.graph.node),
        operators=dict(sorted(operators.items())),
    )

"""MACs and parameters of an ONNX file, read from its own graph: what the file holds, not what it should."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx
import onnx.shape_inference

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.graphs.weights import has_folded_bias, weight_shape
from ofa_toolkit.spaces.layer_spec import LayerSpec

# Constants up to this many elements are kept for shape inference, which may need their values.
_SMALL = 64
# What may stand between a stored weight and the layer that multiplies by it.
_PASS_THROUGH = ("DequantizeLinear", "QuantizeLinear", "Cast", "Identity")


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
    graph = model.graph
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    shapes = _shapes(model)
    macs, params = 0, 0
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        weight, *rest = (_stored_size(name, node, sizes, producers) for name in node.input[1:] if name)
        params += math.prod(weight) + sum(math.prod(size) for size in rest)
        positions = math.prod(_map_size(node, shapes)) if node.op_type == "Conv" else 1
        macs += math.prod(weight) * positions
    operators: dict[str, int] = {}
    for node in graph.node:
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
    return GraphCounts(
        macs=macs, params=params, num_nodes=len(graph.node), operators=dict(sorted(operators.items()))
    )


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large constants as inputs: all that types and shapes follow from, at no size.

    Shape inference copies what it is given several times.
    """
    graph = model.graph
    large = [tensor for tensor in graph.initializer if math.prod(tensor.dims) > _SMALL]
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = graph.name
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.output.extend(graph.output)
    light.graph.value_info.extend(graph.value_info)
    light.graph.initializer.extend(t for t in graph.initializer if math.prod(t.dims) <= _SMALL)
    known = {value.name for value in graph.input}
    light.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in large
        if tensor.name not in known
    )
    return light


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    inferred = onnx.shape_inference.infer_shapes(without_weights(model)).graph
    return {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output, *inferred.input)
    }


def _map_size(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> Sequence[int]:
    size = shapes.get(node.output[0], [])[2:]
    if not size or not all(size):
        raise ExportError(f"The output size of node '{node.name}' cannot be inferred from the file.")
    return size


def _stored_size(
    name: str,
    node: onnx.NodeProto,
    sizes: dict[str, tuple[int, ...]],
    producers: dict[str, onnx.NodeProto],
) -> tuple[int, ...]:
    while name not in sizes:
        producer = producers.get(name)
        if producer is None or producer.op_type not in _PASS_THROUGH:
            raise ExportError(f"The weights of node '{node.name}' are not stored in the file.")
        name = producer.input[0]
    return sizes[name]

"""Convolutions and matrix products of an ONNX file: what each costs and computes in, by the file itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx
import onnx.shape_inference
from onnx import TensorProto

from ofa_toolkit.core.errors import ExportError

WEIGHTED = ("Conv", "Gemm", "MatMul")

# Constants up to this many elements are kept for shape inference, which may need their values.
_SMALL = 64
# What may stand between a stored weight and the layer that multiplies by it.
_PASS_THROUGH = ("DequantizeLinear", "QuantizeLinear", "Cast", "Identity")
_TYPES: Mapping[int, Literal["fp32", "fp16"]] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}


@dataclass(frozen=True, kw_only=True)
class WeightedNode:
    """A convolution or matrix product with stored weights.

    Attributes:
        name: Name of the node.
        macs: Multiply-accumulates of one image.
        params: Elements of weights and bias.
        precision: `int8` where input and weights are dequantised, else the type of the stored weights.
        sources: The nodes with weights that its input is computed from without another one between.
    """

    name: str
    macs: int
    params: int
    precision: Literal["fp32", "fp16", "int8", "unknown"]
    sources: tuple[str, ...]


def weighted_nodes(model: onnx.ModelProto) -> list[WeightedNode]:
    """Every convolution and matrix product of a model, in the order of its graph.

    Raises:
        ExportError: Weights are not stored in the file, or an output size cannot be inferred.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    shapes = _shapes(model)
    sources: dict[str, tuple[str, ...]] = {}
    found = []
    for node in graph.node:
        if node.op_type not in WEIGHTED:
            above = [sources.get(name, ()) for name in node.input]
            passed = tuple(dict.fromkeys(source for names in above for source in names))
            sources.update((name, passed) for name in node.output)
            continue
        weight, *rest = (_stored(name, node, constants, producers) for name in node.input[1:] if name)
        positions = math.prod(_map_size(node, shapes)) if node.op_type == "Conv" else 1
        dequantised = [
            name in producers and producers[name].op_type == "DequantizeLinear" for name in node.input[:2]
        ]
        found.append(
            WeightedNode(
                name=node.name,
                macs=math.prod(weight.dims) * positions,
                params=sum(math.prod(tensor.dims) for tensor in (weight, *rest)),
                precision="int8" if all(dequantised) else _TYPES.get(weight.data_type, "unknown"),
                sources=sources.get(node.input[0], ()),
            )
        )
        sources[node.output[0]] = (node.name,)
    return found


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


def _stored(
    name: str,
    node: onnx.NodeProto,
    constants: Mapping[str, onnx.TensorProto],
    producers: Mapping[str, onnx.NodeProto],
) -> onnx.TensorProto:
    while name not in constants:
        producer = producers.get(name)
        if producer is None or producer.op_type not in _PASS_THROUGH:
            raise ExportError(f"The weights of node '{node.name}' are not stored in the file.")
        name = producer.input[0]
    return constants[name]

"""Finds the gates of squeeze-excite in an ONNX graph by their shape, and stores them in half precision.

A gate is what lies between a global pool and a product of the pooled map with what became of its mean. The
same chain ends in a product in other places (a classifier's pool, convolution and h-swish), where the map is
not a factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Change how a tensor is stored, not what it is.
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "Cast", "Identity")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate.

    Attributes:
        entry: Tensor that the pool gives.
        nodes: Nodes that are computed from it, in the order of the graph.
        result: Tensor that the map is multiplied by.
    """

    entry: str
    nodes: tuple[onnx.NodeProto, ...]
    result: str

    @property
    def convolutions(self) -> tuple[str, ...]:
        """Names of its convolutions."""
        return tuple(node.name for node in self.nodes if node.op_type == "Conv")


def find_gates(graph: onnx.GraphProto) -> list[Gate]:
    """Every squeeze-excite gate of a graph, quantised or not."""
    producers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    gates = []
    for node in graph.node:
        if node.op_type == "Mul":
            for result, scaled in (tuple(node.input), tuple(node.input)[::-1]):
                gate = _gate(result, scaled, producers, constants)
                if gate is not None and gate.convolutions:
                    gates.append(gate)
    return gates


def gate_convolutions(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions inside squeeze-excite gates."""
    return [name for gate in find_gates(graph) for name in gate.convolutions]


def _gate(
    result: str, scaled: str, producers: Mapping[str, onnx.NodeProto], constants: set[str]
) -> Gate | None:
    """What lies above `result`, where all of it comes from the mean of `scaled` alone."""
    entries: set[str] = set()
    nodes: dict[str, onnx.NodeProto] = {}
    waiting = [result]
    while waiting:
        name = waiting.pop()
        node = producers.get(name)
        if name in constants or name in nodes:
            continue
        if node is None:
            return None
        if node.op_type == "GlobalAveragePool":
            if _origin(node.input[0], producers) != _origin(scaled, producers):
                return None
            entries.add(name)
            continue
        nodes[name] = node
        waiting += [given for given in node.input if given]
    if len(entries) != 1:
        return None
    ordered = [node for node in producers.values() if node.output[0] in nodes]
    return Gate(entry=entries.pop(), nodes=tuple(ordered), result=result)


def _origin(name: str, producers: Mapping[str, onnx.NodeProto]) -> str:
    while (node := producers.get(name)) is not None and node.op_type in _CONVERSIONS:
        name = node.input[0]
    return name


def store_in_half(model: onnx.ModelProto) -> None:
    """Let the gates of a single-precision model compute in half precision, between two casts."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    casts: dict[str, onnx.NodeProto] = {}  # by the tensor they convert
    for gate in find_gates(graph):
        half = {gate.entry: f"{gate.entry}.half", gate.result: f"{gate.result}.half"}
        casts[gate.entry] = _cast(gate.entry, half[gate.entry], TensorProto.FLOAT16)
        casts[half[gate.result]] = _cast(half[gate.result], gate.result, TensorProto.FLOAT)
        for node in gate.nodes:
            for names in (node.input, node.output):
                names[:] = [half.get(name, name) for name in names]
            for tensor in (constants[name] for name in node.input if name in constants):
                values = numpy_helper.to_array(tensor).astype(np.float16)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes = []
    for node in graph.node:
        nodes += [node, *(casts[name] for name in node.output if name in casts)]
    del graph.node[:]
    graph.node.extend(nodes)


def _cast(source: str, output: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [output], name=f"{output}.cast", to=to)

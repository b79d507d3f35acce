"""Quantised files: what a target takes of QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from ofa_toolkit.export.lint.rule import Finding, ModelFile, error
from ofa_toolkit.export.target_devices import Target


def check_quantisation(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Signed and symmetric where the target wants that, scales where it reads them."""
    nodes = [n for n in file.model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    if not nodes:
        return
    if target.supports("int8") is False:
        yield error("precision", f"{target.name} has no int8: the file is quantised", nodes[0].name)
        return
    if target.generation.software.fuses_quantisation:
        for node in nodes:
            yield from _quantisation_node(file, target, node)


def _quantisation_node(file: ModelFile, target: Target, node: onnx.NodeProto) -> Iterator[Finding]:
    row, rule = target.generation, "quantisation"
    scale = file.constants.get(node.input[1])
    if len(node.input) < 3:
        yield error(rule, f"{node.op_type} needs its zero point", node.name)
        return
    zero_point = file.constants.get(node.input[2])
    if scale is None or zero_point is None:
        if row.since >= (11, 0):
            return  # computed ones are read
        yield error(rule, f"scale and zero point of {node.op_type} must be stored in the file", node.name)
        return
    kind = TensorProto.DataType.Name(zero_point.data_type)
    if kind not in {"INT8"} | ({"FLOAT8E4M3FN", "INT4"} & row.data_types):
        yield error(rule, f"quantised to {kind}; TensorRT takes INT8", node.name)
    elif np.any(numpy_helper.to_array(zero_point)):
        yield error(rule, "the zero point is not 0; TensorRT quantises symmetrically", node.name)
    if len(scale.dims) == 1 and scale.dims[0] > 1:
        if file.opset < 13:
            yield error(rule, f"scales per channel need opset 13, the file has {file.opset}", node.name)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if axis != 0 or not file.is_constant(node.input[0]):
            yield error(rule, "scales per channel are for weights, along axis 0", node.name)
    if node.op_type == "DequantizeLinear" and node.input[0] in file.constants and row.int8 == "pair":
        yield error(
            rule, f"{row.name} takes no int8 constants: store fp32 and QuantizeLinear them", node.name
        )

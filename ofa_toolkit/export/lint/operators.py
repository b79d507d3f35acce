"""Operators a target does not have, and how it wants their inputs and attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import TensorProto

from ofa_toolkit.export.lint.rule import ONNX_DOMAINS, Finding, ModelFile, error
from ofa_toolkit.export.target_devices import Target


def check_operators(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Operators that the target's parser does not know."""
    known = target.generation.operators
    for node in file.model.graph.node:
        if known is not None and node.domain in ONNX_DOMAINS and node.op_type not in known:
            hint = "; HardSigmoid and Mul compute the same" if node.op_type == "HardSwish" else ""
            yield error("operator", f"{target.generation.name} has no {node.op_type}{hint}", node.name)


def check_constants(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Inputs that must be stored in the file, and bounds that are misread."""
    row = target.generation
    for node in file.model.graph.node:
        if node.domain not in ONNX_DOMAINS:
            continue
        for position in row.constant_inputs.get(node.op_type, ()):
            if position >= len(node.input):
                continue
            name = node.input[position]
            # Inputs left out with an empty name are read everywhere, but for the last one of an old Clip.
            if not file.is_constant(name) if name else (node.op_type, position) == ("Clip", 2):
                message = f"{row.name} needs input {position} of {node.op_type} stored in the file"
                yield error("constant", message, node.name)
        is_half = node.op_type == "Clip" and file.types.get(node.input[0]) == TensorProto.FLOAT16
        if is_half and not row.reads_half_constants:
            yield error("constant", f"{row.name} misreads the fp16 bounds of a Clip", node.name)


def check_attributes(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Attributes with values that the target does not have."""
    allowed = target.generation.attributes
    for node in file.model.graph.node:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for (operator, name), values in allowed.items():
            if node.op_type != operator or node.domain not in ONNX_DOMAINS:
                continue
            if name == "nearest_mode" and given.get("mode", b"nearest") != b"nearest":
                continue  # says nothing there
            value = given.get(name, _default(operator, name, file.opset))
            text = value.decode() if isinstance(value, bytes) else str(value)
            if value is not None and text not in values:
                takes = f"{target.generation.name} has {', '.join(sorted(values))}"
                yield error("attribute", f"{name} '{text}' of {operator}; {takes}", node.name)


def _default(operator: str, attribute: str, opset: int) -> Any:
    """What ONNX takes for an attribute that is left out; None where the opset does not have it."""
    try:
        known = onnx.defs.get_schema(operator, opset).attributes
    except onnx.defs.SchemaError:
        return None
    if attribute not in known or not known[attribute].default_value.type:
        return None
    return onnx.helper.get_attribute_value(known[attribute].default_value)


def check_pools(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Pools that TensorRT does not have."""
    if not target.generation.software.has_own_parser:
        return
    for node in file.model.graph.node:
        if node.op_type not in ("MaxPool", "AveragePool", "LpPool"):
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if any(dilation != 1 for dilation in attributes.get("dilations", [])):
            yield error("attribute", f"TensorRT has no dilated {node.op_type}", node.name)
        if len(attributes.get("kernel_shape", ())) > 3:
            yield error("attribute", f"TensorRT has no {node.op_type} over more than 3 dimensions", node.name)


def check_outputs(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Operators of which TensorRT gives the first output only."""
    if not target.generation.software.has_own_parser:
        return
    for node in file.model.graph.node:
        is_single = node.op_type in ("MaxPool", "BatchNormalization", "LayerNormalization")
        if is_single and sum(bool(name) for name in node.output) > 1:
            yield error("output", f"TensorRT gives only the first output of {node.op_type}", node.name)

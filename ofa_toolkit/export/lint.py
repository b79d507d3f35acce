"""Would the target accept this ONNX file? Answered from the target's row, without its software or GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import onnx
import onnx.checker
import onnx.shape_inference
from onnx import TensorProto, numpy_helper

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.graphs import without_weights

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
_TENSORRT_TYPES = (
    *_FLOATS,
    TensorProto.INT8,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing the target would refuse, or do differently from what the file says.

    Attributes:
        severity: `error` where the file is refused or computes something else, `warning` where not.
        rule: Short name of the rule.
        message: What is wrong, and what the target takes.
        node: Name of the node or tensor, or None for the whole file.
    """

    severity: Literal["error", "warning"]
    rule: str
    message: str
    node: str | None = None


class _File:
    """An ONNX model with what several rules look up."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return max((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), default=0)

    @cached_property
    def types(self) -> dict[str, int]:
        """Element type of every tensor."""
        graph = onnx.shape_inference.infer_shapes(without_weights(self.model)).graph
        values = [*graph.input, *graph.value_info, *graph.output]
        types = {value.name: value.type.tensor_type.elem_type for value in values}
        return types | {name: tensor.data_type for name, tensor in self.constants.items()}

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is stored, or computed from stored ones by quantisation or a cast."""
        while name not in self.constants:
            node = self.producers.get(name)
            if node is not None and node.op_type == "Constant":
                return True
            if node is None or node.op_type not in ("QuantizeLinear", "DequantizeLinear", "Cast", "Identity"):
                return False
            name = node.input[0]
        return True


Rule = Callable[[_File, Target], Iterator[Finding]]


def lint(model: onnx.ModelProto, target: Target) -> list[Finding]:
    """Everything about a model that its target would refuse or warn of, in the order of the rules.

    Args:
        model: Any ONNX model, ours or not.
        target: Where it is to run.
    """
    file = _File(model)
    return [finding for rule in RULES for finding in rule(file, target)]


def check_lint(model: onnx.ModelProto, target: Target) -> list[Finding]:
    """Raise `ExportError` at the first error of `lint`; returns the warnings."""
    findings = lint(model, target)
    for finding in findings:
        if finding.severity == "error":
            where = f" ({finding.node})" if finding.node else ""
            raise ExportError(f"{target.name} would not take the file: {finding.message}{where}")
    return findings


def _error(rule: str, message: str, node: str | None = None) -> Finding:
    return Finding(severity="error", rule=rule, message=message, node=node)


def _valid(file: _File, _: Target) -> Iterator[Finding]:
    try:
        onnx.checker.check_model(file.model)
        onnx.shape_inference.infer_shapes(without_weights(file.model), check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, UnicodeDecodeError) as error:
        yield _error("valid", f"not a valid ONNX model: {str(error).strip().splitlines()[0]}")
    if any(t.data_location == TensorProto.EXTERNAL for t in file.constants.values()):
        yield _error("valid", "weights lie in another file; store them inside")


def _versions(file: _File, target: Target) -> Iterator[Finding]:
    row = target.generation
    if file.opset > target.max_opset:
        yield _error("opset", f"opset {file.opset}; {target.name} reads up to {target.max_opset}")
    if file.model.ir_version > row.max_ir_version:
        yield _error(
            "ir-version", f"IR version {file.model.ir_version}; {row.name} reads up to {row.max_ir_version}"
        )
    for other in sorted({o.domain for o in file.model.opset_import} - {"", "ai.onnx"}):
        if any(node.domain == other for node in file.model.graph.node):
            yield _error("domain", f"operators of '{other}' are not part of ONNX")


def _operators(file: _File, target: Target) -> Iterator[Finding]:
    known = target.generation.operators
    for node in file.model.graph.node:
        if known is not None and node.domain in ("", "ai.onnx") and node.op_type not in known:
            hint = "; HardSigmoid and Mul compute the same" if node.op_type == "HardSwish" else ""
            yield _error("operator", f"{target.generation.name} has no {node.op_type}{hint}", node.name)


def _shapes(file: _File, target: Target) -> Iterator[Finding]:
    if target.takes_dynamic_batch:
        return
    for value in file.model.graph.input:
        if any(not d.HasField("dim_value") for d in value.type.tensor_type.shape.dim):
            yield _error("static-shape", f"engines for {target.name} need fixed shapes", value.name)


def _data_types(file: _File, target: Target) -> Iterator[Finding]:
    if target.generation.runtime != "tensorrt":
        return
    for name, kind in file.types.items():
        if kind == TensorProto.DOUBLE or kind not in (*_TENSORRT_TYPES, TensorProto.UNDEFINED):
            yield _error("data-type", f"{TensorProto.DataType.Name(kind)} is not computed by TensorRT", name)
        elif kind == TensorProto.INT64 and name in file.constants and target.generation.since < (9, 0):
            yield Finding(
                severity="warning",
                rule="data-type",
                message=f"{target.generation.name} casts INT64 down to INT32",
                node=name,
            )
    if TensorProto.FLOAT16 in file.types.values() and target.supports("fp16") is False:
        yield _error("precision", f"the GPU of {target.name} has no fp16 arithmetic")


def _constants(file: _File, target: Target) -> Iterator[Finding]:
    row = target.generation
    for node in file.model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        for position in row.constant_inputs.get(node.op_type, ()):
            if position >= len(node.input):
                continue
            name = node.input[position]
            # Inputs left out with an empty name are read everywhere, but for the last one of an old Clip.
            if not file.is_constant(name) if name else (node.op_type, position) == ("Clip", 2):
                message = f"{row.name} needs input {position} of {node.op_type} ('{name}') stored in the file"
                yield _error("constant", message, node.name)
        is_half = node.op_type == "Clip" and file.types.get(node.input[0]) == TensorProto.FLOAT16
        if is_half and not row.reads_half_constants:
            yield _error("constant", f"{row.name} misreads the fp16 bounds of a Clip", node.name)


def _attributes(file: _File, target: Target) -> Iterator[Finding]:
    allowed = target.generation.attributes
    for node in file.model.graph.node:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for (operator, name), values in allowed.items():
            if node.op_type != operator or node.domain not in ("", "ai.onnx"):
                continue
            if name == "nearest_mode" and given.get("mode", b"nearest") != b"nearest":
                continue  # says nothing there
            value = given.get(name, _default(operator, name, file.opset)).decode()
            if value not in values:
                takes = f"{target.generation.name} has {', '.join(sorted(values))}"
                yield _error("attribute", f"{name} '{value}' of {operator}; {takes}", node.name)


def _default(operator: str, attribute: str, opset: int) -> bytes:
    """What ONNX takes for a text attribute that is left out; nothing where the opset does not have it."""
    known = onnx.defs.get_schema(operator, opset).attributes
    return bytes(known[attribute].default_value.s) if attribute in known else b""


def _pools(file: _File, target: Target) -> Iterator[Finding]:
    if target.generation.runtime != "tensorrt":
        return
    for node in file.model.graph.node:
        if node.op_type not in ("MaxPool", "AveragePool"):
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if any(dilation != 1 for dilation in attributes.get("dilations", [])):
            yield _error("attribute", f"TensorRT has no dilated {node.op_type}", node.name)
        if len(attributes["kernel_shape"]) > 3:
            yield _error(
                "attribute", f"TensorRT has no {node.op_type} over more than 3 dimensions", node.name
            )
        if len([name for name in node.output if name]) > 1:
            yield _error("attribute", "TensorRT gives no indices of a MaxPool", node.name)


def _quantisation(file: _File, target: Target) -> Iterator[Finding]:
    nodes = [n for n in file.model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    if not nodes:
        return
    if target.supports("int8") is False:
        yield _error("precision", f"{target.name} has no int8: the file is quantised", nodes[0].name)
        return
    if target.generation.runtime == "tensorrt":
        for node in nodes:
            yield from _quantisation_node(file, target, node)


def _quantisation_node(file: _File, target: Target, node: onnx.NodeProto) -> Iterator[Finding]:
    row, rule = target.generation, "quantisation"
    scale = file.constants.get(node.input[1])
    if len(node.input) < 3:
        yield _error(rule, f"{node.op_type} needs its zero point", node.name)
        return
    zero_point = file.constants.get(node.input[2])
    if scale is None or zero_point is None:
        yield _error(rule, f"scale and zero point of {node.op_type} must be stored in the file", node.name)
        return
    if zero_point.data_type != TensorProto.INT8:
        kind = TensorProto.DataType.Name(zero_point.data_type)
        yield _error(rule, f"quantised to {kind}; TensorRT takes INT8", node.name)
    elif np.any(numpy_helper.to_array(zero_point)):
        yield _error(rule, "the zero point is not 0; TensorRT quantises symmetrically", node.name)
    if len(scale.dims) == 1 and scale.dims[0] > 1:
        if file.opset < 13:
            yield _error(rule, f"scales per channel need opset 13, the file has {file.opset}", node.name)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if axis != 0 or not file.is_constant(node.input[0]):
            yield _error(rule, "scales per channel are for weights, along axis 0", node.name)
    if node.op_type == "DequantizeLinear" and node.input[0] in file.constants and row.int8 == "pair":
        yield _error(
            rule, f"{row.name} takes no int8 constants: store fp32 and QuantizeLinear them", node.name
        )


RULES: tuple[Rule, ...] = (
    _valid,
    _versions,
    _operators,
    _shapes,
    _data_types,
    _constants,
    _attributes,
    _pools,
    _quantisation,
)

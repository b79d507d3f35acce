"""The file as a whole: is it valid ONNX, and of versions that the target reads?"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.checker
import onnx.shape_inference

from ofa_toolkit.core.errors import first_line
from ofa_toolkit.export.lint.rule import ONNX_DOMAINS, Finding, ModelFile, error, warning
from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.graphs import without_weights

# Up to opset 6 these operators broadcast only where an attribute said so; parsers of today do not read that.
_BROADCASTING = frozenset(
    [
        *("Add", "And", "Div", "Equal", "Gemm", "Greater", "Less", "Max", "Mean", "Min"),
        *("Mul", "Or", "Pow", "PRelu", "Sub", "Sum", "Xor"),
    ]
)
_FIRST_BROADCASTING_OPSET = 7


def check_valid(file: ModelFile, _: Target) -> Iterator[Finding]:
    """ONNX itself must take the model."""
    model = file.model
    if model.ir_version < 4:
        # There ONNX wants every stored tensor among the inputs too, which no target does.
        model = onnx.ModelProto()
        model.CopyFrom(file.model)
        model.ir_version = 4
    try:
        onnx.checker.check_model(model)
        onnx.shape_inference.infer_shapes(without_weights(model), check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, UnicodeDecodeError) as problem:
        yield error("valid", f"not a valid ONNX model: {first_line(problem)}")


def check_versions(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Operator set, file format, and operators that are nobody's standard."""
    row = target.generation
    versions = (
        ("opset", "opset", file.opset, target.max_opset),
        ("ir-version", "IR version", file.model.ir_version, row.max_ir_version),
    )
    for rule, label, found, most in versions:
        if found <= most:
            continue
        if row.software.reads_newer:
            oldest = ".".join(str(number) for number in row.since)
            yield warning(rule, f"{label} {found}; {row.name} {oldest} reads up to {most}, newer ones more")
        elif rule == "opset":
            yield error(rule, f"{label} {found}; {target.name} reads up to {most}")
        else:
            yield warning(rule, f"{label} {found}; {row.name} knows {most}, what is newer is overlooked")
    if 0 < file.opset < row.min_opset:
        message = f"opset {file.opset}; {target.name} is meant to read {row.min_opset} to {target.max_opset}"
        yield warning("opset", f"{message}: operators that changed since may be refused")
    for other in sorted({o.domain for o in file.model.opset_import} - set(ONNX_DOMAINS)):
        if any(node.domain == other for node in file.model.graph.node):
            yield error("domain", f"operators of '{other}' are not part of ONNX")


def check_old_operators(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Operators in a definition from before opset 7 that the target does not read any more."""
    if not 0 < file.opset < _FIRST_BROADCASTING_OPSET:
        return
    for node in file.model.graph.node:
        if node.domain not in ONNX_DOMAINS:
            continue
        if target.generation.software.has_own_parser:
            is_refused = node.op_type in _BROADCASTING
        else:
            is_refused = _since(node.op_type, file.opset) != _since(node.op_type, _FIRST_BROADCASTING_OPSET)
        if is_refused:
            message = (
                f"{node.op_type} of opset {file.opset}; {target.generation.name} reads it from opset 7 on"
            )
            yield error("opset", message, node.name)


def _since(operator: str, opset: int) -> int:
    """The opset that last changed an operator's definition, 0 where it has none yet."""
    if not onnx.defs.has(operator):
        return 0
    try:
        return int(onnx.defs.get_schema(operator, opset).since_version)
    except onnx.defs.SchemaError:
        return 0

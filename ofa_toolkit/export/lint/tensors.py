"""Shapes and element types of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
import onnx.shape_inference
from onnx import TensorProto

from ofa_toolkit.export.lint.rule import Finding, ModelFile, error, warning
from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.graphs import without_weights


def check_static_shapes(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Boards for which shapes must be fixed."""
    if target.takes_dynamic_batch:
        return
    for value in file.inputs:
        if any(not d.HasField("dim_value") for d in value.type.tensor_type.shape.dim):
            yield error("static-shape", f"engines for {target.name} need fixed shapes", value.name)


def check_open_batch(file: ModelFile, _: Target) -> Iterator[Finding]:
    """A Reshape to a fixed number of images in a file that leaves it open."""
    if all(_first(value) is None or _first(value) for value in file.inputs):
        return
    two, three = (_first_dimensions(file, batch) for batch in (2, 3))
    opened = {name for name in two.keys() & three.keys() if two[name] != three[name]}
    keeps_batch = any(value.name in opened for value in file.model.graph.output)
    for node in file.model.graph.node:
        if node.op_type != "Reshape" or node.input[0] not in opened:
            continue
        stored = file.value(node.input[1])
        shape = [] if stored is None else [int(size) for size in stored.ravel()]
        if shape and shape[0] > 0 and (min(shape) > 0 or not keeps_batch):
            message = (
                f"the batch size is open, but this Reshape to {shape} fixes it at {shape[0]}; -1 or 0 in its "
                "place leaves it open"
            )
            yield error("open-batch", message, node.name or node.output[0])


def _first(value: onnx.ValueInfoProto) -> int | None:
    """First dimension of an input, 0 where it is open, None where it has none."""
    dims = value.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims else None


def _first_dimensions(file: ModelFile, batch: int) -> Mapping[str, int]:
    """First dimension of every tensor for so many images."""
    model = without_weights(file.model)
    opened = {value.name for value in file.inputs if _first(value) == 0}
    for value in model.graph.input:
        if value.name in opened:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    return {value.name: first for value in values if (first := _first(value))}


def check_data_types(file: ModelFile, target: Target) -> Iterator[Finding]:
    """Element types that TensorRT casts, or has no arithmetic for."""
    row = target.generation
    if not row.software.has_own_parser:
        return
    for value in (*file.model.graph.input, *file.model.graph.output):
        if not value.type.HasField("tensor_type"):
            yield error("data-type", f"{row.name} reads tensors only, no sequences or optionals", value.name)
    for name, kind in file.types.items():
        label = TensorProto.DataType.Name(kind)
        if kind == TensorProto.UNDEFINED:
            continue
        if label not in row.data_types:
            yield error("data-type", f"{label} is not computed by {row.name}", name)
        elif kind == TensorProto.DOUBLE:
            yield warning("data-type", f"{row.name} casts DOUBLE down to FLOAT", name)
        elif kind == TensorProto.INT64 and name in file.constants and row.since < (9, 0):
            yield warning("data-type", f"{row.name} casts INT64 down to INT32", name)
    yield from _bytes(file)
    if TensorProto.FLOAT16 in file.types.values() and target.supports("fp16") is False:
        yield error("precision", f"the GPU of {target.name} has no fp16 arithmetic")


def _bytes(file: ModelFile) -> Iterator[Finding]:
    """UINT8 goes in and out of an engine; nothing is computed in it."""
    outputs = {value.name for value in file.model.graph.output}
    kinds = file.types
    for node in file.model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue  # see `check_quantisation`
        for name in node.input:
            if kinds.get(name) != TensorProto.UINT8 or name in file.constants:
                continue
            if node.op_type != "Cast":
                yield error("data-type", "UINT8 must be cast before anything else", node.name)
        made = [name for name in node.output if kinds.get(name) == TensorProto.UINT8]
        if any(name not in outputs or node.op_type != "Cast" for name in made):
            yield error("data-type", "UINT8 is for inputs and, by a Cast, for outputs only", node.name)

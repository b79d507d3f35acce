"""Is an exported file what its metadata says? What can be told from the file alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import FileFormatError, OfaToolkitError, VerificationError
from ofa_toolkit.export.choices import CalibrationMethod
from ofa_toolkit.export.ends import wrap
from ofa_toolkit.export.exporter import OUTPUT_NAME, FileForm, check_form
from ofa_toolkit.export.lint import check_lint
from ofa_toolkit.export.metadata import ExportMetadata
from ofa_toolkit.graphs import (
    FoldedWeights,
    build_onnx,
    count_folded_params,
    identify_weights,
    weighted_nodes,
)
from ofa_toolkit.graphs.builder import PRODUCER
from ofa_toolkit.graphs.weights import Array, check_weights
from ofa_toolkit.spaces.layer_spec import LayerSpec

Status = Literal["passed", "failed", "not checked"]

_RELATIVE_TOLERANCE = 1e-5
_HALF_TOLERANCE = 2.0**-10
_RANGE_TOLERANCE: dict[CalibrationMethod, float] = {"minmax": 1e-3, "percentile": 2e-2, "entropy": 2e-2}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One claim of the metadata and what became of it.

    Attributes:
        claim: Name of the checked claim.
        status: Whether it holds; `not checked` where something to check it with is missing.
        detail: Found figures, or the reason.
    """

    claim: str
    status: Status
    detail: str


def attempt(claim: str, check: Callable[[], str]) -> Check:
    """Run a check that raises an error of ours where the claim does not hold, and says what it found."""
    try:
        return Check(claim=claim, status="passed", detail=check())
    except OfaToolkitError as error:
        return Check(claim=claim, status="failed", detail=error.message)


def judge(claim: str, holds: bool, detail: str) -> Check:
    """A check whose outcome is known."""
    return Check(claim=claim, status="passed" if holds else "failed", detail=detail)


def skip(claim: str, reason: str) -> Check:
    """A check for which something is missing."""
    return Check(claim=claim, status="not checked", detail=reason)


def verify_file(
    model: onnx.ModelProto, metadata: ExportMetadata, layers: Sequence[LayerSpec], form: FileForm
) -> list[Check]:
    """Everything about a file that follows from its metadata without the supernet.

    The graph of an int8 file depends on its calibration images, see `verify_ranges`.

    Args:
        model: The file.
        metadata: Metadata of the file.
        layers: Layers of the metadata's subnet.
        form: As the metadata says.
    """

    def form_holds() -> str:
        check_form(model, layers, form)
        return f"{form.target.name}: linted, opset, shapes, {form.precision} and counts"

    macs, params = count_macs(layers), count_folded_params(layers)
    checks = [
        judge(
            "toolkit",
            (model.producer_name, model.producer_version) == (PRODUCER, metadata.toolkit),
            f"the file was written by {model.producer_name} {model.producer_version}",
        ),
        attempt("form", form_holds),
        judge(
            "MACs and parameters",
            (macs, params) == (metadata.macs, metadata.params),
            f"the subnet has {macs:,} and {params:,}, the metadata {metadata.macs:,} and {metadata.params:,}",
        ),
    ]
    stored = stored_weights(model, layers)
    found = identify_weights(stored)
    checks.append(judge("weights", found == metadata.weights_identity, f"SHA-256 {found[:16]}, as stored"))
    if form.precision != "int8":  # see `verify_ranges`
        checks.append(judge("graph", *_graph_equals(model, layers, stored, form)))
    return checks


def verify_ends(
    file: onnx.ModelProto, model: onnx.ModelProto, metadata: ExportMetadata, form: FileForm
) -> Check:
    """Does the file take and give what its metadata says, in a form that the target reads?

    Args:
        file: As it lies there.
        model: The network in it, see `strip`.
        metadata: Metadata of the file.
        form: As the metadata says.
    """

    def ends_hold() -> str:
        again = wrap(model, metadata.ends, metadata.preprocessing).graph
        for field in ("input", "output", "node", "initializer"):
            if _contents(getattr(again, field)) != _contents(getattr(file.graph, field)):
                raise VerificationError(f"its {field}s are not those of '{metadata.ends}'")
        check_lint(file, form.target)
        return (
            f"{metadata.ends.input} {metadata.ends.layout} in, {', '.join(metadata.ends.output_names())} out"
        )

    return attempt("input and output", ends_hold)


def _contents(entries: Iterable[Any]) -> list[bytes]:
    """Entries of a graph, whatever their order."""
    return sorted(entry.SerializeToString(deterministic=True) for entry in entries)


def verify_weights(
    model: onnx.ModelProto, layers: Sequence[LayerSpec], derived: FoldedWeights, form: FileForm
) -> Check:
    """Are the stored weights those of the network that was derived again?

    Batch-norm statistics are sums of floating-point numbers, which other processors and numbers of threads
    add up in another order: what is stored in fp32 must agree to 1e-5 of the layer's largest weight, in fp16
    to its rounding, in int8 to half a step of its scale.
    """
    stored, steps = stored_weights(model, layers), _quantisation_steps(model)
    half = {node.name for node in weighted_nodes(model) if node.precision == "fp16"}
    worst, where = 0.0, "none"
    for name, (weight, bias) in derived.items():
        found_weight, found_bias = stored[name]
        for kind, expected, found in (("weight", weight, found_weight), ("bias", bias, found_bias)):
            if expected is None or found is None or expected.shape != found.shape:
                if expected is not found:
                    worst, where = np.inf, f"{name}.{kind}"
                continue
            # Half a step of rounding, and a little for the rounding of the scale itself.
            step = 0.51 * steps.get((name, kind), np.zeros(1, np.float32))
            tolerance = _HALF_TOLERANCE if name in half else _RELATIVE_TOLERANCE
            allowed = tolerance * float(np.abs(expected).max()) + step
            ratio = np.abs(found - expected) / np.maximum(allowed, 1e-30)
            # A stored value that is no number is as far off as can be.
            excess = float(np.nan_to_num(ratio, nan=np.inf, posinf=np.inf).max())
            if excess > worst:
                worst, where = excess, f"{name}.{kind}"
    return judge(
        "weights from the supernet",
        worst <= 1.0,
        f"largest deviation {worst:.2g} of what {form.precision} allows ({where})",
    )


def verify_ranges(model: onnx.ModelProto, derived: onnx.ModelProto, method: CalibrationMethod) -> Check:
    """Are nodes and ranges of an int8 file those that were derived again from its weights and images?

    Other processors round activations differently: an extreme may move a little, a percentile or the least
    loss of information by a bin of its histogram, a zero point by the rounding of either.
    """
    claim = "graph and 8-bit ranges"
    if list(model.graph.node) != list(derived.graph.node):
        return judge(claim, False, "the nodes are not what the subnet and its calibration images give")
    tolerance = _RANGE_TOLERANCE[method]
    found, expected = _stored_ranges(model), _stored_ranges(derived)
    # Equal nodes read equally named ranges.
    changes = {name: _range_change(found[name], expected[name]) for name in expected}
    where = max(changes, key=changes.__getitem__)
    detail = (
        f"{len(expected)} ranges; largest change {changes[where]:.2g}, {tolerance:g} is allowed ({where})"
    )
    return judge(claim, changes[where] <= tolerance, detail)


_Range = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def _range_change(found: _Range, expected: _Range) -> float:
    """Largest relative change of a scale; infinity where a zero point moved by more than one step."""
    if found[0].shape != expected[0].shape or np.abs(found[1] - expected[1]).max() > 1:
        return float("inf")
    change = np.abs(found[0] / expected[0] - 1)
    return float(np.nan_to_num(change, nan=np.inf, posinf=np.inf).max())


def _stored_ranges(model: onnx.ModelProto) -> dict[str, _Range]:
    """Scale's name -> scale and zero point, of weights and activations."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    ranges = {}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            if not constants.keys() >= set(node.input[1:3]):
                raise FileFormatError(f"The range of '{node.input[0]}' is not stored in the file.")
            scale, zero_point = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
            ranges[node.input[1]] = (scale.astype(np.float64), zero_point.astype(np.int64))
    return ranges


def stored_weights(
    model: onnx.ModelProto, layers: Sequence[LayerSpec]
) -> dict[str, tuple[Array, Array | None]]:
    """Weights and biases as the file holds them, 8-bit ones multiplied by their scale, in float32."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    nodes = {node.name: node for node in model.graph.node}
    weights: dict[str, tuple[Array, Array | None]] = {}
    for layer in layers:
        node = nodes.get(layer.name)
        if layer.has_weights and node is not None:
            values = [_value(name, constants, producers) for name in node.input[1:]]
            weights[layer.name] = (values[0], values[1] if len(values) > 1 else None)
    return weights


def _value(name: str, constants: dict[str, onnx.TensorProto], producers: dict[str, onnx.NodeProto]) -> Array:
    if name in constants:
        return np.asarray(numpy_helper.to_array(constants[name]), dtype=np.float32)
    node = producers.get(name)
    if node is None:
        raise FileFormatError(f"The weights '{name}' are not stored in the file.")
    value = _value(node.input[0], constants, producers)
    if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
        return value  # fp32 weights followed by QuantizeLinear and DequantizeLinear
    scale = numpy_helper.to_array(constants[node.input[1]])
    return np.asarray(value * scale.reshape(-1, *[1] * (value.ndim - 1)), dtype=np.float32)


def _quantisation_steps(model: onnx.ModelProto) -> dict[tuple[str, str], Array]:
    """(Layer, `weight` or `bias`) -> scale, shaped to broadcast; nothing for what is stored as it is."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    steps: dict[tuple[str, str], Array] = {}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        for kind, name in zip(("weight", "bias"), node.input[1:], strict=False):
            dequantise = producers.get(name)
            if dequantise is None or dequantise.input[0] not in constants:
                continue
            rank = len(constants[dequantise.input[0]].dims)
            scale = numpy_helper.to_array(constants[dequantise.input[1]]).astype(np.float32)
            steps[node.name, kind] = scale.reshape(-1, *[1] * (rank - 1))
    return steps


def _graph_equals(
    model: onnx.ModelProto, layers: Sequence[LayerSpec], stored: FoldedWeights, form: FileForm
) -> tuple[bool, str]:
    """Whether the file's nodes are those that the subnet's layers are written as."""
    try:
        check_weights(layers, stored)
    except OfaToolkitError as error:
        return False, error.message
    operators = {node.op_type for node in model.graph.node}
    expected = build_onnx(
        layers,
        stored,
        opset=form.target.generation.export_opset,
        batch_size=form.batch_size,
        precision="fp16" if form.precision == "fp16" else "fp32",
        use_hard_swish="HardSwish" in operators,
        use_clip="Min" not in operators,
        output_name=OUTPUT_NAME,
        outputs=form.outputs(layers),
    )
    for found, wanted in zip(model.graph.node, expected.graph.node, strict=False):
        if found != wanted:
            return False, f"node '{found.name}' is not what the subnet's layers give"
    same = len(model.graph.node) == len(expected.graph.node)
    return same, f"{len(model.graph.node)} nodes; the subnet's layers give {len(expected.graph.node)}"

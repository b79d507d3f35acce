"""Writes the ONNX graph of a `LayerSpec` list: the same few operators in every opset from 11 on.

Nothing is traced, so a graph holds exactly the nodes the layers need, and is the same on every
machine. No operator used here changed its meaning between opset 11 and 21. Two departures from a literal
transcription, both exact: batch norm is folded into the weights it follows, and a pool that rounds up says
so only where its window does not divide the map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.core.precision import FloatPrecision
from ofa_toolkit.core.version import __version__
from ofa_toolkit.graphs.operators import WRITERS
from ofa_toolkit.graphs.weights import FoldedWeights, check_weights
from ofa_toolkit.graphs.writer import GraphWriter
from ofa_toolkit.spaces.layer_spec import LayerSpec

OLDEST_OPSET = 11
NEWEST_OPSET = 21
HARD_SWISH_OPSET = 14
BATCH_DIMENSION = "batch"
PRODUCER = "ofa-toolkit"


def build_onnx(
    layers: Sequence[LayerSpec],
    weights: FoldedWeights,
    *,
    opset: int = 13,
    ir_version: int | None = None,
    batch_size: int | None = 1,
    precision: FloatPrecision = "fp32",
    use_hard_swish: bool = False,
    use_clip: bool = True,
    output_name: str = "output",
    outputs: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write layers as an ONNX model: a whole network, a block, or one layer.

    Graph inputs are the names that layers read and no layer has: `input` for the image `(N, 3, R, R)`, or
    the name of the layer that would stand before, with its shape `(N, C, S, S)`. The graph output is what
    no layer reads: `(N, classes)` for a linear layer, else `(N, C, S, S)`.

    Args:
        layers: In execution order.
        weights: Folded weights by layer name, as `fold_batchnorm` or `random_weights` give them.
        opset: Version of the ONNX operator set, 11 to 21.
        ir_version: Version of the file format; by default the oldest that may hold this opset.
        batch_size: Images a run, or None for any number.
        precision: `fp32`, or `fp16`: weights and arithmetic in half precision, inputs and outputs in
            single, converted by a Cast at either end.
        use_hard_swish: Write h-swish as the one operator HardSwish (opset 14 on) where otherwise it is
            HardSigmoid and Mul.
        use_clip: Write ReLU6 as the one operator Clip; otherwise as Relu and Min, for parsers that read
            the bounds of a Clip as single precision whatever they are.
        output_name: Name of the output tensor.
        outputs: For several outputs, in place of `output_name`: each one's name, and the layer that gives it.
        metadata: Written into the file's metadata.

    Raises:
        MismatchError: Weights are missing, superfluous, or of other shapes.
        ExportError: The options do not go together, or other layers than the outputs' are read by nobody.
    """
    _check_options(opset, use_hard_swish)
    check_weights(layers, weights)
    writer = GraphWriter(is_half=precision == "fp16", use_hard_swish=use_hard_swish, use_clip=use_clip)
    inputs = _graph_inputs(layers)
    given = _outputs(layers, output_name, outputs)
    for name in inputs:
        writer.names[name] = (
            writer.cast(name, f"{name}.half", TensorProto.FLOAT16) if writer.is_half else name
        )
    for layer in layers:
        writer.names[layer.name] = layer.name
        if layer.name in given:
            name = given[layer.name]
            writer.names[layer.name] = f"{name}.half" if writer.is_half else name
        WRITERS[layer.kind](writer, layer, weights)
    if writer.is_half:
        for layer_name, name in given.items():
            writer.cast(writer.names[layer_name], name, TensorProto.FLOAT)
    batch = BATCH_DIMENSION if batch_size is None else batch_size
    shapes = {given[layer.name]: _shape(layer) for layer in layers if layer.name in given}
    graph = helper.make_graph(
        writer.nodes,
        "network",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, *shape]) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, *shape]) for n, shape in shapes.items()],
        writer.initializers,
    )
    return _model(graph, opset, ir_version, metadata)


def _check_options(opset: int, use_hard_swish: bool) -> None:
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise ExportError(f"Opset {opset} is not written; {OLDEST_OPSET} to {NEWEST_OPSET} are.")
    if use_hard_swish and opset < HARD_SWISH_OPSET:
        raise ExportError(
            f"The operator HardSwish needs opset {HARD_SWISH_OPSET}, got {opset}.",
            hint="Leave use_hard_swish off: HardSigmoid and Mul compute the same.",
        )


def _graph_inputs(layers: Sequence[LayerSpec]) -> dict[str, tuple[int, int, int]]:
    """Names read but not written, with the shape `(C, S, S)` in which they are read first."""
    written: set[str] = set()
    inputs: dict[str, tuple[int, int, int]] = {}
    for layer in layers:
        for position, name in enumerate(layer.inputs):
            if name in written or name in inputs:
                continue
            if layer.kind == "concat":
                raise ExportError(
                    f"Layer '{layer.name}' joins '{name}' from outside: its channels are unknown."
                )
            size = 1 if layer.kind == "scale" and position == 1 else layer.in_size
            inputs[name] = (layer.in_channels, size, size)
        written.add(layer.name)
    return inputs


def _outputs(
    layers: Sequence[LayerSpec], output_name: str, outputs: Mapping[str, str] | None
) -> dict[str, str]:
    """Layer -> name of the graph output that it gives."""
    read = {name for layer in layers for name in layer.inputs}
    unread = [layer.name for layer in layers if layer.name not in read]
    names = ", ".join(f"'{name}'" for name in unread) or "none"
    if outputs is None:
        if len(unread) != 1:
            raise ExportError(f"The layers must end in one output; nobody reads {names}.")
        return {unread[0]: output_name}
    given = {layer: name for name, layer in outputs.items()}
    if not given.keys() >= set(unread):
        raise ExportError(f"The layers must end in outputs; nobody reads {names}.")
    return given


def _shape(layer: LayerSpec) -> tuple[int, ...]:
    if layer.kind == "linear":
        return (layer.out_channels,)
    return (layer.out_channels, layer.out_size, layer.out_size)


def _model(
    graph: onnx.GraphProto, opset: int, ir_version: int | None, metadata: Mapping[str, str] | None
) -> onnx.ModelProto:
    opset_import = helper.make_opsetid("", opset)
    oldest = int(helper.find_min_ir_version_for([opset_import]))
    if ir_version is not None and ir_version < oldest:
        raise ExportError(f"Opset {opset} needs IR version {oldest} or newer, got {ir_version}.")
    model = helper.make_model(
        graph,
        opset_imports=[opset_import],
        ir_version=oldest if ir_version is None else ir_version,
        producer_name=PRODUCER,
        producer_version=__version__,
    )
    helper.set_model_props(model, dict(metadata or {}))
    return model

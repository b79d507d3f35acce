"""Static 8-bit quantisation of an ONNX model from calibration images, by ONNX Runtime's quantiser.

Weights are quantised per output channel, symmetrically. What else fits depends on who runs the file:

- TensorRT (developer guide, "Explicit Quantization"): activations signed and symmetric, Q/DQ before the
  inputs of convolutions and linear layers only, so that each fuses with what follows; of a residual sum
  only the shortcut is quantised, so that the sum fuses with the convolution before it; biases stay fp32.
- ONNX Runtime on a CPU: activations unsigned and asymmetric, inputs and outputs of everything that has an
  8-bit kernel; ReLU, Clip and HardSigmoid vanish into the range of the quantised tensor.

The gates of squeeze-excite stay in floating point for TensorRT: they cost next to nothing and scale whole
channels. They are stored and computed in half precision where the target has it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.export.choices import CalibrationMethod
from ofa_toolkit.export.hard_sigmoid import round_to_gates
from ofa_toolkit.export.squeeze_excite import gate_convolutions, store_in_half
from ofa_toolkit.export.targets import Generation
from ofa_toolkit.graphs.builder import BATCH_DIMENSION

Images = npt.NDArray[np.float32]

_WEIGHTED = ("Conv", "Gemm")
# Marks a model as prepared (shapes known, nothing left to fold), which ours are by construction.
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")


def quantize(
    model: onnx.ModelProto,
    batches: Iterable[Images],
    generation: Generation,
    *,
    method: CalibrationMethod = "minmax",
    weight_bits: int = 8,
    folds_hard_sigmoid: bool = False,
    has_half: bool = True,
) -> onnx.ModelProto:
    """Quantise a single-input fp32 model.

    Args:
        model: From `build_onnx`, in fp32, opset 13 or newer; left unchanged.
        batches: Calibration images `(N, 3, R, R)`, any number at a time.
        generation: Software that will run the file.
        method: How the range of an activation is found from what the images give: their extremes, the
            99.99th percentile, or the least loss of information.
        weight_bits: 8, or 7 for processors that add two products of bytes in 16 bits, where those of full
            weights saturate: ONNX Runtime and OpenVINO on x86 without VNNI.
        folds_hard_sigmoid: Whether a byte's range stands in for HardSigmoid, where bytes are unsigned.
        has_half: Whether what is not quantised for TensorRT may be stored in half precision.

    Returns:
        The model with QuantizeLinear and DequantizeLinear nodes, metadata kept.

    Raises:
        DataError: There were no images.
    """
    with _quiet(), tempfile.TemporaryDirectory(prefix="ofa-tk-") as folder:
        source, result = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        prepared = onnx.ModelProto()
        prepared.CopyFrom(model)
        prepared.metadata_props.add(key=_PREPARED[0], value=_PREPARED[1])
        # Ranges are found on many images at a time, whatever the file is made for.
        for value in (*prepared.graph.input, *prepared.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = BATCH_DIMENSION
        onnx.save(prepared, source)
        _run_quantiser(source, result, model, batches, generation, method, weight_bits)
        quantised = onnx.load(result)
    if generation.software.fuses_quantisation:
        _free_fused_sums(quantised)
        if has_half:
            store_in_half(quantised)
    if folds_hard_sigmoid:
        round_to_gates(quantised.graph)
    _restore(quantised, model)
    return quantised


def _restore(quantised: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Undo what the quantiser changes besides the nodes: shapes, versions, metadata, domains."""
    for field in ("input", "output"):
        quantised.graph.ClearField(field)
        getattr(quantised.graph, field).extend(getattr(model.graph, field))
    quantised.ir_version = model.ir_version
    quantised.producer_name, quantised.producer_version = model.producer_name, model.producer_version
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    # Domains the quantiser adds for operators that are not in the graph.
    del quantised.opset_import[:]
    quantised.opset_import.extend(model.opset_import)
    del quantised.graph.value_info[:]


def _run_quantiser(
    source: Path,
    result: Path,
    model: onnx.ModelProto,
    batches: Iterable[Images],
    generation: Generation,
    method: CalibrationMethod,
    weight_bits: int,
) -> None:
    from onnxruntime import quantization

    fuses = generation.software.fuses_quantisation
    reader = _Reader(model.graph.input[0].name, batches)
    ranges = {
        "minmax": quantization.CalibrationMethod.MinMax,
        "percentile": quantization.CalibrationMethod.Percentile,
        "entropy": quantization.CalibrationMethod.Entropy,
    }
    options: dict[str, Any] = {"WeightSymmetric": True, "ActivationSymmetric": fuses}
    if method == "percentile":
        options["CalibPercentile"] = 99.99
    if fuses:
        options |= {
            "QuantizeBias": False,
            "AddQDQPairToWeight": generation.int8 == "pair",
            "OpTypesToExcludeOutputQuantization": [*_WEIGHTED, "Add"],
        }
    quantization.quantize_static(
        source,
        result,
        reader,
        op_types_to_quantize=[*_WEIGHTED, "Add"] if fuses else _cpu_operators(model),
        nodes_to_exclude=gate_convolutions(model.graph) if fuses else [],
        per_channel=True,
        reduce_range=weight_bits == 7,
        activation_type=quantization.QuantType.QInt8 if fuses else quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=ranges[method],
        extra_options=options,
    )
    if reader.num_images == 0:
        raise DataError("Quantisation got no calibration images.", hint="Check the data set and its split.")


class _Reader:
    """Hands calibration batches to ONNX Runtime's quantiser."""

    def __init__(self, input_name: str, batches: Iterable[Images]) -> None:
        self._input_name = input_name
        self._batches: Iterator[Images] = iter(batches)
        self.num_images = 0

    def get_next(self) -> dict[str, Images] | None:
        """The next batch, or None at the end."""
        images = next(self._batches, None)
        if images is None:
            return None
        self.num_images += len(images)
        return {self._input_name: images}

    def __iter__(self) -> Iterator[dict[str, Images]]:
        while (batch := self.get_next()) is not None:
            yield batch


def _cpu_operators(model: onnx.ModelProto) -> list[str]:
    return sorted({node.op_type for node in model.graph.node})


def _free_fused_sums(model: onnx.ModelProto) -> None:
    """Let a sum read the convolution before it directly, so that both become one kernel."""
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        for position, name in enumerate(node.input):
            dequantise = producers[name]
            quantise = producers[dequantise.input[0]]
            before = producers.get(quantise.input[0])
            if before is not None and before.op_type == "Conv":
                node.input[position] = quantise.input[0]
                break
    _remove_unread(graph)


def _remove_unread(graph: onnx.GraphProto) -> None:
    """Drop nodes and constants whose results nobody reads."""
    outputs = {output.name for output in graph.output}
    while True:
        read = outputs | {name for node in graph.node for name in node.input}
        unread = [node for node in graph.node if not read.intersection(node.output)]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, on the root logger and on stdout, to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)

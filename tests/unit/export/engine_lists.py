"""What the engine inspector says of a network's engine, in the schema of each TensorRT generation.

Sources: the lists recorded in tools/experimental/trt-engine-explorer of github.com/NVIDIA/TensorRT (release
8.6 to 10: `CaskConvolution`, `Weights`, `Format/Datatype`, names joined by ` + `), onnx-tensorrt's changelog
(8.6: metadata), .agents/skills/trt-perf-analysis (11.1: `Datatype`, the back end's layer types), and the list
in `recorded_engine.txt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

RECORDED = Path(__file__).with_name("recorded_engine.txt")

_FORMATS = {
    "fp32": "Row major linear FP32",
    "fp16": "Two wide channel vectorized row major FP16 format",
    "int8": "Thirty-two wide channel vectorized row major Int8 format",
}
_TYPES = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}


def recorded_list(datatype: str = "Float") -> dict[str, Any]:
    """The recorded list with another type of all tensors."""

    def tensors(names: str) -> list[dict[str, str]]:
        texts = {"Format": "(NHWC) Channel major format", "Datatype": datatype}
        return [{"Name": name, **texts} for name in names.split()]

    lines = [line for line in RECORDED.read_text().splitlines() if not line.startswith("#")]
    layers = []
    for kind, name, inputs, outputs in (line.split("\t") for line in lines):
        tactic = "__myelin_CASK_STUB" if kind == "correlation" else ""
        layers.append(
            {
                "Name": name,
                "LayerType": kind,
                "Inputs": tensors(inputs),
                "Constants": [],
                "Outputs": tensors(outputs),
                "TacticName": tactic,
            }
        )
    return {"Layers": layers}


def engine_list(
    model: onnx.ModelProto, precisions: Mapping[str, str], version: str, *, has_open_shapes: bool = False
) -> dict[str, Any]:
    """A list with one layer for each convolution and linear layer, and a copy before the first.

    Args:
        model: The network.
        precisions: Node with weights -> what its layer computes in.
        version: Of TensorRT.
        has_open_shapes: Whether the engine takes any batch size; then formats, and with them types up to
            TensorRT 10, are not told.
    """
    write = _back_end_entry if version.startswith("11.") else _entry
    copy = {"Name": "Reformatting CopyNode for Input Tensor 0 to first", "LayerType": "Reformat"}
    layers: list[dict[str, Any]] = [
        {**copy, "Inputs": [{"Name": "input"}], "Outputs": [{"Name": "tensor 0"}]}
    ]
    # Tensor -> the layer that gives it; what has no weights is fused into the last layer that it reads.
    written: dict[str, int] = {}
    for node in model.graph.node:
        last = max(written.get(name, 0) for name in node.input)
        if node.op_type in ("Conv", "Gemm"):
            source, last = f"tensor {written.get(node.input[0], 0)}", len(layers)
            layers.append(write(node.name, precisions[node.name], source, last, version))
        written.update((name, last) for name in node.output)
    if has_open_shapes:
        for tensor in (t for layer in layers for t in [*layer["Inputs"], *layer["Outputs"]]):
            tensor.update({key: "N/A due to dynamic shapes" for key in tensor if key.startswith("Format")})
    return {"Layers": layers, "Bindings": ["input", "logits"]}


def _entry(name: str, precision: str, source: str, number: int, version: str) -> dict[str, Any]:
    texts = {"Location": "Device", "Format/Datatype": _FORMATS[precision]}
    kernel = {"fp32": "f32f32_tf32f32_f32", "fp16": "f16f16_f16f16_f16", "int8": "interleaved_i8i8_i8i32_f32"}
    entry = {
        "Name": f"{name}.weight + {name}.weight_QuantizeLinear + {name} + {name}.relu",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": source, **texts}],
        "Outputs": [{"Name": f"tensor {number}", **texts}],
        "ParameterType": "Convolution",
        "Weights": {"Type": _TYPES[precision], "Count": 9},
        "TacticName": f"sm80_xmma_fprop_implicit_gemm_{kernel[precision]}_nhwckrsc_nhwc",
    }
    if tuple(int(part) for part in version.split(".")[:2]) >= (8, 6):
        entry["Metadata"] = f"[ONNX Layer: {name}]\x1e[ONNX Layer: {name}.relu]"
    return entry


def _back_end_entry(name: str, precision: str, source: str, number: int, _: str) -> dict[str, Any]:
    """Every third layer has lost its name to a fusion."""
    texts = {"Format": "(NHWC) Channel major format", "Datatype": _TYPES[precision]}
    is_fused = number % 3 == 0
    return {
        "Name": f"__myl_CorrMulAddMinMaxMul_myl0_{number}" if is_fused else f"{name}_U{number}_myl0_{number}",
        "LayerType": "runtime_fusion" if is_fused else "correlation",
        "Inputs": [{"Name": source, **texts}],
        "Constants": [{"Name": "__mye1dconst", **texts}],
        "Outputs": [{"Name": f"tensor {number}", **texts}],
        "TacticName": "" if is_fused else "__myelin_CASK_STUB",
        "StreamId": 0,
        "Metadata": "",
    }

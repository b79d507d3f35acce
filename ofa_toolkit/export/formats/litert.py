"""LiteRT (TensorFlow Lite) for phones, Raspberry Pi and microcontrollers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.ends import Ends
from ofa_toolkit.export.formats.format import Array, FormatSource, Runner


@dataclass
class LiteRt:
    """Weights of fp16 files are stored in half precision; int8 has its inputs and outputs in 8 bits too."""

    name: str = "litert"
    title: str = "LiteRT"
    extra: str = "litert"
    packages: tuple[str, ...] = ("litert-torch", "ai-edge-litert", "ai-edge-quantizer")
    suffix: str = ".tflite"
    precisions: tuple[FilePrecision, ...] = ("fp32", "fp16", "int8")
    reads_quantised: bool = False
    runtime: str = "tflite"
    runs_here: bool = True

    def check(self, ends: Ends) -> None:
        """Takes all."""

    def write(self, source: FormatSource, path: Path) -> None:
        """Write the network, quantised by AI Edge Quantizer where that is asked."""
        import litert_torch
        import torch

        converted: Any = litert_torch.convert(source.network, (torch.from_numpy(source.example),))
        converted.export(str(path))
        if source.precision != "fp32":
            _quantise(path, source)

    def open(self, path: Path, num_threads: int) -> Runner:
        """On the processor, by XNNPACK."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter: Any = Interpreter(model_path=str(path), num_threads=num_threads)
        interpreter.allocate_tensors()
        [given] = interpreter.get_input_details()
        made = interpreter.get_output_details()

        def run(images: Array) -> list[Array]:
            interpreter.set_tensor(given["index"], _stored(images, given))
            interpreter.invoke()
            return [_read(interpreter.get_tensor(entry["index"]), entry) for entry in made]

        return run


def _stored(values: Array, entry: Any) -> Array:
    """Values as a tensor holds them: inputs and outputs of int8 files are in 8 bits themselves."""
    scale, zero_point = entry["quantization"]
    if entry["dtype"] == values.dtype or not scale:
        return values
    limits = np.iinfo(entry["dtype"])
    steps: Array = np.clip(np.rint(values / scale + zero_point), limits.min, limits.max)
    return steps.astype(entry["dtype"])


def _read(values: Array, entry: Any) -> Array:
    scale, zero_point = entry["quantization"]
    found: Array = (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values
    return found


def _quantise(path: Path, source: FormatSource) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import qtyping, quantizer, recipe

    worker: Any = quantizer.Quantizer(str(path))
    if source.precision == "fp16":
        weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        worker.update_quantization_recipe(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            op_config=qtyping.OpQuantizationConfig(weight_tensor_config=weights),
            algorithm_key="float_casting",
        )
        result = worker.quantize()
    else:
        worker.load_quantization_recipe(recipe.static_wi8_ai8())
        [(signature, names)] = Interpreter(model_path=str(path)).get_signature_list().items()
        samples = [{names["inputs"][0]: images} for images in source.calibration]
        result = worker.quantize(worker.calibrate({signature: samples}))
    result.export_model(str(path), overwrite=True)


LITERT = LiteRt()

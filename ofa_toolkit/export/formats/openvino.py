"""OpenVINO IR from the ONNX file: for processors and NPUs of Intel, and Arm processors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.ends import Ends
from ofa_toolkit.export.formats.format import Array, FormatSource, Runner


@dataclass
class OpenVino:
    """Weights of fp16 files are stored in half precision; what computes in it is up to the processor."""

    name: str = "openvino"
    title: str = "OpenVINO"
    extra: str = "openvino"
    packages: tuple[str, ...] = ("openvino",)
    suffix: str = ".xml"
    precisions: tuple[FilePrecision, ...] = ("fp32", "fp16", "int8")
    reads_quantised: bool = True
    runtime: str = "openvino"
    runs_here: bool = True

    def check(self, ends: Ends) -> None:
        """Takes all."""

    def write(self, source: FormatSource, path: Path) -> None:
        """Write the graph, and its weights beside it as `.bin`."""
        import openvino

        onnx_file = path.with_suffix(".onnx")
        onnx.save(source.model, onnx_file)
        try:
            model = openvino.convert_model(onnx_file)
            openvino.save_model(model, path, compress_to_fp16=source.precision == "fp16")
        finally:
            onnx_file.unlink()

    def open(self, path: Path, num_threads: int) -> Runner:
        """On the processor, in single precision where the file has it."""
        import openvino

        settings = {"INFERENCE_NUM_THREADS": num_threads, "INFERENCE_PRECISION_HINT": "f32"}
        compiled: Any = openvino.Core().compile_model(path, "CPU", settings)

        def run(images: Array) -> list[Array]:
            found = compiled([images])
            return [found[output] for output in compiled.outputs]

        return run


OPENVINO = OpenVino()

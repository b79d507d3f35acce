"""Stands in for OpenVINO where it is not installed, on ONNX Runtime.

By the Python API reference of OpenVINO 2025 and 2026 (docs.openvino.ai): `convert_model(path)`,
`save_model(model, path, compress_to_fp16=True)` writes `.xml` and `.bin`; `Core.compile_model(path, device,
config)` gives a callable that takes a list of inputs and returns outputs by port, `outputs` lists the ports.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Compiled:
    def __init__(self, content: bytes) -> None:
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.outputs = [object() for _ in self._session.get_outputs()]

    def __call__(self, inputs: list[np.ndarray]) -> dict[Any, np.ndarray]:
        [source] = self._session.get_inputs()
        assert list(inputs[0].shape) == source.shape
        return dict(zip(self.outputs, self._session.run(None, {source.name: inputs[0]}), strict=True))


class Core:
    def compile_model(self, path: Path, device: str, config: dict[str, Any]) -> Compiled:
        sys.stdout.write("[INFO] compiling\n")
        assert (Path(path).suffix, device) == (".xml", "CPU")
        assert set(config) == {"INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT"}
        return Compiled(Path(path).with_suffix(".bin").read_bytes())


def save_model(model: bytes, path: Path, compress_to_fp16: bool = True) -> None:
    sys.stdout.write("[START] writing\n")  # converters of other formats print how far they are
    Path(path).write_text(f"<net fp16='{compress_to_fp16}'/>")
    Path(path).with_suffix(".bin").write_bytes(model)


def make_module() -> types.ModuleType:
    module = types.ModuleType("openvino")
    module.convert_model = lambda path: Path(path).read_bytes()
    module.save_model, module.Core = save_model, Core
    return module

"""TensorRT engines through its Python package, built as `ofa-tk export` builds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.graphs import build_onnx, random_weights
from ofa_toolkit.latency.runtimes.runtime import RuntimeOptions, RunTimes, input_shape
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.tensorrt.engine import (
    DeviceMemory,
    EngineOptions,
    EngineRunner,
    Launch,
    TorchMemory,
    build_plan,
    find_tensorrt,
    reads_half_constants,
)

_KIT_HINT = "measure with trtexec: ofa-tk latency kit build --target NAME"


class TensorRtRuntime:
    """Builds an engine for each network and times its kernels between CUDA events, without CUDA graphs.

    Inputs and outputs stay on the device. In fp16 the graph itself is in half precision, and the builder is
    allowed it where it must be: TensorRT 11 has no precision flags any more.
    """

    name: ClassVar[str] = "tensorrt"

    def __init__(self, options: RuntimeOptions) -> None:
        if options.processor != "cuda":
            raise MeasurementError(
                f"TensorRT runs on NVIDIA GPUs only, not on the processor '{options.processor}'.",
                hint="Add --processor cuda on a machine with an NVIDIA GPU.",
            )
        self._library: Any = find_tensorrt(_KIT_HINT)
        self.options = options
        self.version: str = str(self._library.__version__)
        self._memory: DeviceMemory = TorchMemory()
        self.device_name = self._memory.device_name

    def prepare(self, layers: Sequence[LayerSpec], seed: int) -> TensorRtSession:
        """Build the engine; takes seconds to minutes."""
        generator = rng.generator(seed, "tensorrt")
        precision = self.options.precision
        model = build_onnx(
            layers,
            random_weights(layers, generator),
            batch_size=self.options.batch_size,
            precision=precision,
            use_clip=precision == "fp32" or reads_half_constants(self._library),
        )
        plan = build_plan(self._library, model.SerializeToString(), EngineOptions(precision=precision))
        images = generator.standard_normal(input_shape(layers, self.options.batch_size), dtype=np.float32)
        launch, _ = EngineRunner(self._library, plan, self._memory).prepare(images)
        return TensorRtSession(launch, self._memory)


class TensorRtSession:
    """An engine with its buffers."""

    def __init__(self, launch: Launch, memory: DeviceMemory) -> None:
        self._launch, self._memory = launch, memory

    def time_runs(self, num_runs: int) -> RunTimes:
        """Times between CUDA events in ms, each run synchronised."""
        return RunTimes(wall_ms=self._memory.time(self._launch, num_runs))

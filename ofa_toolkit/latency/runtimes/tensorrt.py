"""TensorRT engines through its Python package; device memory and events are torch's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import MeasurementError, MissingDependencyError
from ofa_toolkit.graphs import build_onnx, random_weights
from ofa_toolkit.latency.runtimes.runtime import RuntimeOptions, RunTimes, input_shape
from ofa_toolkit.spaces.layer_spec import LayerSpec

_KIT_HINT = (
    "Where Python packages cannot be installed, measure with trtexec instead: "
    "ofa-tk latency kit build --target NAME"
)


class TensorRtRuntime:
    """Builds an engine for each network and times its kernels between CUDA events, without CUDA graphs.

    Inputs and outputs stay on the device. In fp16 the graph itself is in half precision, which every
    generation understands: TensorRT 11 has no precision flags any more.
    """

    name: ClassVar[str] = "tensorrt"

    def __init__(self, options: RuntimeOptions) -> None:
        try:
            import tensorrt
            import torch
        except ImportError as error:
            raise MissingDependencyError(
                f"The runtime 'tensorrt' needs the packages tensorrt and torch: {error}.", hint=_KIT_HINT
            ) from error
        if options.processor != "cuda" or not torch.cuda.is_available():
            raise MeasurementError(
                "TensorRT runs on NVIDIA GPUs only; torch finds none here."
                if options.processor == "cuda"
                else "TensorRT runs on NVIDIA GPUs only, not on the processor 'cpu'.",
                hint="Add --processor cuda on a machine with an NVIDIA GPU.",
            )
        self.options = options
        self.version: str = tensorrt.__version__
        self.device_name: str = torch.cuda.get_device_name(0)
        self._tensorrt: Any = tensorrt
        self._torch: Any = torch
        self._logger = tensorrt.Logger(tensorrt.Logger.ERROR)

    def prepare(self, layers: Sequence[LayerSpec], seed: int) -> TensorRtSession:
        """Build the engine; takes seconds to minutes."""
        generator = rng.generator(seed, "tensorrt")
        model = build_onnx(
            layers,
            random_weights(layers, generator),
            batch_size=self.options.batch_size,
            precision=self.options.precision,
        )
        engine = self._build(model.SerializeToString())
        values = generator.standard_normal(input_shape(layers, self.options.batch_size))
        images = self._torch.from_numpy(values.astype(np.float32)).cuda()
        return TensorRtSession(self._tensorrt, self._torch, engine, images)

    def _build(self, model: bytes) -> Any:
        library = self._tensorrt
        builder = library.Builder(self._logger)
        network = builder.create_network(self._network_flags())
        parser = library.OnnxParser(network, self._logger)
        if not parser.parse(model):
            raise MeasurementError(f"TensorRT cannot parse the network: {parser.get_error(0)}.")
        config = builder.create_builder_config()
        if hasattr(library.BuilderFlag, "TF32"):
            config.clear_flag(library.BuilderFlag.TF32)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise MeasurementError("TensorRT cannot build an engine of the network.")
        return library.Runtime(self._logger).deserialize_cuda_engine(plan)

    def _network_flags(self) -> int:
        """Explicit batch where it is a choice, types as the graph has them where that is one."""
        flags = self._tensorrt.NetworkDefinitionCreationFlag
        value = 0
        for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):
            if hasattr(flags, name):
                value |= 1 << int(getattr(flags, name))
        return value


class TensorRtSession:
    """An engine with its buffers."""

    def __init__(self, tensorrt: Any, torch: Any, engine: Any, images: Any) -> None:
        self._torch = torch
        self._engine = engine
        self._context = engine.create_execution_context()
        self._stream = torch.cuda.Stream()
        self._buffers = []
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
            shape = tuple(engine.get_tensor_shape(name))
            buffer = images if is_input else torch.empty(shape, device="cuda")
            self._context.set_tensor_address(name, buffer.data_ptr())
            self._buffers.append(buffer)

    def time_runs(self, num_runs: int) -> RunTimes:
        """Times between CUDA events in ms, each run synchronised."""
        torch = self._torch
        times = np.empty(num_runs)
        with torch.cuda.stream(self._stream):
            for index in range(num_runs):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                self._stream.synchronize()
                start.record(self._stream)
                if not self._context.execute_async_v3(self._stream.cuda_stream):
                    raise MeasurementError("TensorRT failed to run the engine.")
                end.record(self._stream)
                end.synchronize()
                times[index] = start.elapsed_time(end)
        return RunTimes(wall_ms=times)

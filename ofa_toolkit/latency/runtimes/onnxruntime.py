"""ONNX Runtime on the CPU or a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.graphs import build_onnx, random_weights
from ofa_toolkit.graphs.session import open_session
from ofa_toolkit.latency.measuring.system import cpu_name, gpu_name
from ofa_toolkit.latency.runtimes.runtime import RuntimeOptions, RunTimes, input_shape, time_calls
from ofa_toolkit.spaces.layer_spec import LayerSpec

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntime:
    """Times `InferenceSession.run`: inputs and outputs are NumPy arrays, as an application has them.

    The graph is what `ofa-tk export` writes. Threads do not spin between runs, which would take the
    processor from whatever else runs.
    """

    name: ClassVar[str] = "onnxruntime"

    def __init__(self, options: RuntimeOptions) -> None:
        import onnxruntime

        self.options = options
        self.version: str = onnxruntime.__version__
        self._provider = _PROVIDERS[options.processor]
        available = onnxruntime.get_available_providers()
        if self._provider not in available:
            raise MeasurementError(
                f"This onnxruntime has no {self._provider}; it has {', '.join(available)}.",
                hint="pip install onnxruntime-gpu, or leave out --processor cuda.",
            )
        if options.precision != "fp32" and options.processor == "cpu":
            raise MeasurementError("onnxruntime computes on the CPU in fp32 only; leave out --precision.")
        self.device_name = cpu_name() if options.processor == "cpu" else gpu_name()

    def prepare(self, layers: Sequence[LayerSpec], seed: int) -> OnnxRuntimeSession:
        """Write the graph and load it."""
        generator = rng.generator(seed, "onnxruntime")
        model = build_onnx(
            layers,
            random_weights(layers, generator),
            batch_size=self.options.batch_size,
            precision=self.options.precision,
        )
        session = open_session(
            model.SerializeToString(), provider=self._provider, num_threads=self.options.num_threads
        )
        images = generator.standard_normal(input_shape(layers, self.options.batch_size), dtype="float32")
        is_one_thread = self.options.processor == "cpu" and self.options.num_threads == 1
        return OnnxRuntimeSession(session, {session.get_inputs()[0].name: images}, is_one_thread)


class OnnxRuntimeSession:
    """A loaded graph and its input."""

    def __init__(self, session: Any, feed: dict[str, Any], is_one_thread: bool) -> None:
        self._session = session
        self._feed = feed
        self._is_one_thread = is_one_thread

    def time_runs(self, num_runs: int) -> RunTimes:
        """Time blocking runs."""
        return time_calls(
            lambda: self._session.run(None, self._feed), num_runs, is_one_thread=self._is_one_thread
        )

"""Networks timed by an installed ONNX Runtime."""

import time
from typing import Any, Callable, List, Optional

from ofa_toolkit.latency.kit.board.journal import AgentError, Json
from ofa_toolkit.latency.kit.board.trtexec import summarise


class OnnxRuntime:
    """Times each network in an installed onnxruntime."""

    name = "onnxruntime"
    typed = False
    only_precision = "fp32"
    has_cuda_graph = False

    def __init__(self, num_threads: int, provider: Optional[str]) -> None:
        try:
            import numpy as np
            import onnxruntime
        except ImportError as error:
            raise AgentError(f"onnxruntime cannot be used here: {error}.") from error
        self.numpy, self.onnxruntime = np, onnxruntime
        self.version = onnxruntime.__version__
        self.num_threads = num_threads
        available = onnxruntime.get_available_providers()
        self.provider = provider or "CPUExecutionProvider"
        if self.provider not in available:
            raise AgentError(
                "onnxruntime has no '{}' here; it has {}.".format(self.provider, ", ".join(available))
            )
        self.arguments = ["provider=" + self.provider, f"threads={num_threads}"]
        self._reference = None  # type: Optional[Callable[[], Any]]

    def measure(self, network: str, folder: str, keep_engine: bool) -> Json:
        """Load and time; a kept session is timed again by `repeat`."""
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = self.onnxruntime.InferenceSession(network, options, providers=[self.provider])
        feed = {}
        for value in session.get_inputs():
            kind = self.numpy.float16 if "float16" in value.type else self.numpy.float32
            shape = [size if isinstance(size, int) else 1 for size in value.shape]
            feed[value.name] = self.numpy.random.RandomState(0).standard_normal(shape).astype(kind)

        def run() -> Any:
            return session.run(None, feed)

        if keep_engine:
            self._reference = run
        return self._time(run)

    def repeat(self, folder: str) -> Optional[Json]:
        """Time the kept session again."""
        return self._time(self._reference) if self._reference is not None else None

    def _time(self, run: Callable[[], Any]) -> Json:
        times: List[float] = []
        start = time.perf_counter()
        for _ in range(5):
            run()
        deadline = time.perf_counter() + max(1.0, 2.0 * (time.perf_counter() - start))
        while len(times) < 30 or (time.perf_counter() < deadline and len(times) < 2000):
            begin = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - begin))
        return summarise(times)

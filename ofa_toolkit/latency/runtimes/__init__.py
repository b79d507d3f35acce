"""What executes a network while it is timed: one small protocol, one line a runtime.

A runtime turns layers into a session; a session runs and times. Libraries are imported when a runtime is
made, never before.
"""

from __future__ import annotations

from ofa_toolkit.core.registry import Registry
from ofa_toolkit.latency.runtimes.runtime import Runtime, RuntimeOptions, RunTimes, Session, isolate

RUNTIMES: Registry[type[Runtime]] = Registry(
    "timing runtime",
    {
        "onnxruntime": "ofa_toolkit.latency.runtimes.onnxruntime:OnnxRuntime",
        "torch": "ofa_toolkit.latency.runtimes.torch:TorchRuntime",
        "tensorrt": "ofa_toolkit.latency.runtimes.tensorrt:TensorRtRuntime",
    },
)

__all__ = ["RUNTIMES", "RunTimes", "Runtime", "RuntimeOptions", "Session", "isolate"]

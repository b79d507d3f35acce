"""Opens ONNX models in ONNX Runtime: one way, for comparing, timing and trying."""

from __future__ import annotations

import re
from typing import Any

from ofa_toolkit.core.errors import MissingDependencyError, VerificationError, first_line

CPU = "CPUExecutionProvider"


def open_session(model: bytes, *, provider: str = CPU, num_threads: int = 1, name: str = "the file") -> Any:
    """An ONNX Runtime session whose threads do not spin between runs and which logs nothing.

    Spinning would take the processor from whatever else runs, and from what takes turns in a comparison.

    Args:
        model: The file's content, its weights inside.
        provider: Name of the execution provider, as ONNX Runtime has it.
        num_threads: Threads of an operator on the CPU.
        name: The model in the words of an error.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        VerificationError: It cannot load the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            f"The package onnxruntime is needed: {error}.", hint="pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what is fatal; the rest comes as an exception
    try:
        return onnxruntime.InferenceSession(model, options, providers=[provider])
    except Exception as error:  # ONNX Runtime raises its own kinds, which share no base
        raise VerificationError(f"ONNX Runtime cannot load {name}: {runtime_reason(error)}") from error


def runtime_reason(error: Exception) -> str:
    """What ONNX Runtime says, without where in its sources it says so."""
    text = first_line(error).removeprefix("[ONNXRuntimeError] : ")
    return re.sub(r"(/\S+\.(cc|h):\d+ ).*?( was false\. |: )", "", text)

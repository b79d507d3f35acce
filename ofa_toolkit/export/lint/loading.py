"""Loads a file where its target is the software of this machine: the last word, where rules find nothing."""

from __future__ import annotations

from collections.abc import Iterator

import onnxruntime

from ofa_toolkit.core.errors import VerificationError
from ofa_toolkit.export.lint.rule import Finding, ModelFile, error
from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.graphs.session import open_session


def check_loads(file: ModelFile, _: Target) -> Iterator[Finding]:
    """ONNX Runtime as it is installed must load the file."""
    try:
        open_session(file.model.SerializeToString())
    except VerificationError as problem:
        reason = problem.message.partition(": ")[2]
        yield error("loads", f"onnxruntime {onnxruntime.__version__}, installed here, refuses it: {reason}")

"""Reads ONNX files, and tells what a file is that is none."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx.checker
from onnx import TensorProto
from onnx.external_data_helper import load_external_data_for_model

from ofa_toolkit.core.beginnings import kind_of
from ofa_toolkit.core.errors import FileFormatError, first_line

_EXPORTED = "`ofa-tk export --onnx` writes an ONNX file."


def load_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Read an ONNX file, and the weights it may keep in files beside it.

    Raises:
        FileFormatError: It cannot be read, is no ONNX model, or the files with its weights are missing.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise FileFormatError(f"Cannot read '{path}': {error.strerror or error}.") from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own, whose package ships no types
        raise _no_model(path, content) from error
    if not model.graph.node:
        raise _no_model(path, content)
    _load_weights(model, Path(path))
    return model


def _load_weights(model: onnx.ModelProto, path: Path) -> None:
    """Read weights that lie in other files."""
    places = {
        entry.value
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    missing = sorted(place for place in places if not (path.parent / place).is_file())
    if missing:
        raise FileFormatError(
            f"'{path}' keeps its weights in '{missing[0]}', which is not beside it.",
            hint=f"Copy '{missing[0]}' to the same folder.",
        )
    try:
        load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = first_line(error)
        raise FileFormatError(f"The weights of '{path}' cannot be read: {reason}") from error


def check_model(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Raise `FileFormatError` where ONNX itself refuses a model: its nodes and names do not fit together."""
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        reason = first_line(error)
        raise FileFormatError(f"'{path}' is damaged: {reason}") from error


def _no_model(path: str | os.PathLike[str], content: bytes) -> FileFormatError:
    if not content:
        return FileFormatError(f"'{path}' is empty.", hint=_EXPORTED)
    if (kind := kind_of(content)) is not None:
        return FileFormatError(f"'{path}' is {kind[0]}, not an ONNX file.", hint=kind[1] or _EXPORTED)
    return FileFormatError(
        f"'{path}' is not an ONNX file, or is truncated.", hint="`ofa-tk export --onnx` writes one."
    )

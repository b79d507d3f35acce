"""What is told of files that are no ONNX models, or lack their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.export.lint import lint
from ofa_toolkit.export.model_file import load_model
from ofa_toolkit.export.target_devices import resolve_target
from tests.unit.export.samples import model

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (POINTER, "is a Git LFS pointer, not an ONNX file"),
        (b"\n<!DOCTYPE html>\n<html><head>", "is an HTML page, not an ONNX file"),
        (b"<HTML lang=en>", "is an HTML page, not an ONNX file"),
        (b'{"error": "not found"}', "is a JSON document, not an ONNX file"),
        (b"PK\x03\x04\x00\x00", "is a zip archive, as torch.save writes, not an ONNX file"),
        (b"", "is empty"),
        (b"\x08\x07 something", "is not an ONNX file, or is truncated"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        load_model(path)


def test_weights_beside_the_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = model(opset=13)
    path = tmp_path / "folder" / "network.onnx"
    path.parent.mkdir()
    onnx.save(expected, path, save_as_external_data=True, location="network.onnx.data", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    read = load_model("folder/network.onnx")
    assert lint(read, resolve_target("tensorrt-8.2")) == []
    assert lint(read, resolve_target("onnxruntime-cpu"), loads=True) == []
    for found, tensor in zip(read.graph.initializer, model(opset=13).graph.initializer, strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(found), onnx.numpy_helper.to_array(tensor))
    (path.parent / "network.onnx.data").write_bytes(b"short")
    with pytest.raises(FileFormatError, match=r"weights of 'folder/network.onnx' cannot be read"):
        load_model("folder/network.onnx")
    (path.parent / "network.onnx.data").unlink()
    with pytest.raises(FileFormatError, match=r"in 'network.onnx.data', which is not beside it") as caught:
        load_model("folder/network.onnx")
    assert "same folder" in str(caught.value.hint)

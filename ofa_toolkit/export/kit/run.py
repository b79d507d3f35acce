"""Classify images: `python run.py IMAGE ...` (.npy and .ppm; other kinds need Pillow)."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).parent


def read(path: str) -> Any:
    """Pixels (H, W, 3), 0 to 255."""
    if path.endswith(".npy"):
        return np.load(path)
    if path.endswith(".ppm"):
        content = Path(path).read_bytes()
        _, width, height, _ = content.split(maxsplit=4)[:4]
        return np.frombuffer(content[-int(width) * int(height) * 3 :], np.uint8).reshape(int(height), -1, 3)
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def filter_matrix(old: int, new: int) -> Any:
    """Bilinear resizing with antialiasing along one side, (new, old)."""
    scale, centre = max(old / new, 1.0), (np.arange(new) + 0.5) * old / new
    weights = np.maximum(0, 1 - np.abs(np.arange(old) + 0.5 - centre[:, None]) / scale)
    return weights / weights.sum(1, keepdims=True)


def prepare(image: Any, settings: Any) -> Any:
    """Network input (3, R, R): shorter side resized, centre cut out, normalised."""
    size = int(settings["size"])
    scale = -(-size // settings["crop"]) / min(image.shape[:2])
    height, width = (max(size, round(side * scale)) for side in image.shape[:2])
    rows, columns = filter_matrix(image.shape[0], height), filter_matrix(image.shape[1], width)
    resized = np.einsum("ih,hwc,jw->cij", rows, image.astype(np.float64), columns, optimize=True) / 255
    top, left = (height - size) // 2, (width - size) // 2
    cut = resized[:, top : top + size, left : left + size]
    mean, std = (np.reshape(settings[key], (3, 1, 1)) for key in ("mean", "std"))
    return ((cut - mean) / std).astype(np.float32)


def main() -> None:
    """Print the most likely class of each image."""
    settings = json.loads((HERE / "preprocessing.json").read_text())
    labels = (HERE / "labels.txt").read_text().splitlines()
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    count = source.shape[0] if isinstance(source.shape[0], int) else 1
    for path in sys.argv[1:]:
        batch = np.repeat(prepare(read(path), settings)[None], count, axis=0)
        logits = session.run(None, {source.name: batch})[0][0]
        best = int(logits.argmax())
        share = float(np.exp(logits - logits.max())[best] / np.exp(logits - logits.max()).sum())
        print(f"{path}: {labels[best]} ({share:.1%})")


if __name__ == "__main__":
    main()

"""Classify images: `python run.py IMAGE ...` (.npy pixels, or whatever an installed Pillow reads)."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).parent


def resize(old: int, new: int) -> Any:  # bilinear with antialiasing along one side, (new, old)
    scale, centre = max(old / new, 1.0), (np.arange(new) + 0.5) * old / new
    weights = np.maximum(0, 1 - np.abs(np.arange(old) + 0.5 - centre[:, None]) / scale)
    return weights / weights.sum(1, keepdims=True)


def prepare(image: Any, size: int, crop: float, mean: Any, std: Any) -> Any:  # (H, W, 3) to (3, R, R)
    sides = [round(side * -(-size // crop) / min(image.shape[:2])) for side in image.shape[:2]]
    rows, columns = (resize(old, new) for old, new in zip(image.shape, sides, strict=False))
    top, left = ((side - size) // 2 for side in sides)
    pixels = np.einsum("ih,hwc,jw->ijc", rows, image / 255.0, columns, optimize=True)
    cut = pixels[top : top + size, left : left + size]
    return ((cut - mean) / std).astype(np.float32).transpose(2, 0, 1)


settings = json.loads((HERE / "preprocessing.json").read_text())
labels = (HERE / "labels.txt").read_text().splitlines()
session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
source = session.get_inputs()[0]
for path in sys.argv[1:]:
    pillow = None if path.endswith(".npy") else __import__("PIL.Image", fromlist=["open"])
    image = np.asarray(pillow.open(path).convert("RGB")) if pillow else np.load(path)
    one = prepare(image, *(settings[key] for key in ("size", "crop", "mean", "std")))
    batch = np.repeat(one[None], source.shape[0] if isinstance(source.shape[0], int) else 1, axis=0)
    logits = session.run(None, {source.name: batch})[0][0]
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    print(f"{path}: {labels[shares.argmax()]} ({shares.max():.1%})")

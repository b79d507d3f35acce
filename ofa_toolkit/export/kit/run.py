"""Classify images: `python run.py IMAGE ...` (.npy pixels, or whatever an installed Pillow reads)."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

find = Path(__file__).with_name
settings, labels = json.loads(find("preprocessing.json").read_text()), find("labels.txt").read_text("utf-8")
session = onnxruntime.InferenceSession(str(find("model.onnx")), providers=["CPUExecutionProvider"])
source, size = session.get_inputs()[0], settings["size"]
for path in sys.argv[1:] or sys.exit(__doc__):
    try:
        pillow = None if path.endswith(".npy") else __import__("PIL.Image", fromlist=["open"])
        pixels = np.asarray(pillow.open(path).convert("RGB")) if pillow else np.load(path)
        short = min(pixels.shape[:2])
        for axis, old in enumerate(pixels.shape[:2]):  # resized bilinearly with antialiasing, middle kept
            new = round(old * -(-size // settings["crop"]) / short)
            centres = (np.arange(size) + (new - size) // 2 + 0.5) * old / new
            taps = np.maximum(0, 1 - abs(np.arange(old) + 0.5 - centres[:, None]) / max(old / new, 1))
            pixels = np.moveaxis(np.tensordot(taps / taps.sum(1, keepdims=True), pixels, (1, axis)), 0, axis)
        image = ((pixels / 255 - settings["mean"]) / settings["std"]).astype(np.float32).transpose(2, 0, 1)
        batch = np.repeat(image[None], source.shape[0] if isinstance(source.shape[0], int) else 1, axis=0)
        logits = session.run(None, {source.name: batch})[0][0]
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"Cannot classify '{path}' as pixels (height, width, 3) from 0 to 255: {error}")
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    print(f"{path}: {labels.splitlines()[shares.argmax()]} ({shares.max():.1%})")

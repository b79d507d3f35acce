"""Classify pictures: `python3 run.py IMAGE ...` (.npy pixels without, other pictures with Pillow).

Needs numpy and onnxruntime, and for pictures Pillow: `python3 -m pip install pillow`.
"""

# Python 3.6. `picture.py` beside this file reads as training does.
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from picture import PictureError, square_pixels  # type: ignore[import-not-found]

# Names of classes are UTF-8, whatever the board's locale.
sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
find = Path(__file__).with_name
settings, labels = json.loads(find("preprocessing.json").read_text()), find("labels.txt").read_text("utf-8")
session = onnxruntime.InferenceSession(str(find("model.onnx")), providers=["CPUExecutionProvider"])
source = session.get_inputs()[0]
kind = np.uint8 if settings["input"] == "uint8" else np.float32
for path in sys.argv[1:] or sys.exit(__doc__):
    try:
        image = square_pixels(path, settings)
        if settings["input"] == "normalised":
            image = (image / 255.0 - settings["mean"]) / settings["std"]
        image = (image if settings["layout"] == "NHWC" else image.transpose(2, 0, 1)).astype(kind)
        batch = np.repeat(image[None], source.shape[0] if isinstance(source.shape[0], int) else 1, axis=0)
        shares, *rest = [output[0] for output in session.run(None, {source.name: batch})]
    except (PictureError, OSError, ValueError) as error:
        sys.exit("Cannot classify '%s' as pixels (height, width, 3), 8 bits each: %s" % (path, error))
    if settings["output"] == "logits":
        shares = np.exp(shares - shares.max()) / np.exp(shares - shares.max()).sum()
    classes, shares = (rest[0], shares) if rest else ([shares.argmax()], [shares.max()])
    found = ["%s (%.1f%%)" % (labels.splitlines()[k], 100 * p) for k, p in zip(classes, shares)]
    print("%s: %s" % (path, ", ".join(found)))

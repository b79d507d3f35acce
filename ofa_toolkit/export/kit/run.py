"""Classify pictures: `python3 run.py IMAGE ...` (.npy pixels without, other pictures with Pillow).

Needs numpy and onnxruntime, and for pictures Pillow: `python3 -m pip install pillow`.
"""

# Python 3.6. `picture.py` beside this file reads as training does.
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from picture import PictureError, network_input  # type: ignore[import-not-found]

# Names of classes are UTF-8, whatever the board's locale.
sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
find = Path(__file__).with_name
settings, labels = json.loads(find("preprocessing.json").read_text()), find("labels.txt").read_text("utf-8")
session = onnxruntime.InferenceSession(str(find("model.onnx")), providers=["CPUExecutionProvider"])
source = session.get_inputs()[0]
for path in sys.argv[1:] or sys.exit(__doc__):
    try:
        image = network_input(path, settings)
        batch = np.repeat(image[None], source.shape[0] if isinstance(source.shape[0], int) else 1, axis=0)
        logits = session.run(None, {source.name: batch})[0][0]
    except (PictureError, OSError, ValueError) as error:
        sys.exit("Cannot classify '%s' as pixels (height, width, 3), 8 bits each: %s" % (path, error))
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    print("%s: %s (%.1f%%)" % (path, labels.splitlines()[shares.argmax()], 100 * shares.max()))

"""Made-up images for trying a command without a data set: each class is a wave and a tint, under noise.

They can be learned, so a falling loss shows that training works; an accuracy on them says nothing about
photographs.
"""

from __future__ import annotations

import numpy as np

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets.arrays import ArrayDataset, Images, from_arrays, measured_preprocessing
from ofa_toolkit.datasets.dataset import Indices
from ofa_toolkit.datasets.request import DataRequest

DEFAULTS = {"classes": 10, "size": 32, "train": 640, "test": 200}
_NOISE = 40.0
_TINT = 50.0


def open_fake(request: DataRequest) -> ArrayDataset:
    """Make a fake data set; the place is `classes=4,size=16,train=64,test=32`, each optional.

    Raises:
        DataError: An option is unknown or no positive integer.
    """
    values = _parse(request.place)
    train = _images("train", values["train"], values["classes"], values["size"])
    test = _images("test", values["test"], values["classes"], values["size"])
    return from_arrays(
        "fake images",
        train,
        test,
        request,
        class_names=[f"wave {label}" for label in range(values["classes"])],
        preprocessing=request.preprocessing or measured_preprocessing(train[0]),
    )


def _parse(options: str) -> dict[str, int]:
    values = dict(DEFAULTS)
    for option in filter(None, options.split(",")):
        name, _, text = option.partition("=")
        if name not in values or not text.isdecimal() or int(text) == 0:
            raise DataError(
                f"'fake:{options}': '{option}' is not understood.",
                hint=f"For example fake:{','.join(f'{key}={value}' for key, value in DEFAULTS.items())}",
            )
        values[name] = int(text)
    return values


def _images(split: str, num_images: int, num_classes: int, size: int) -> tuple[Images, Indices]:
    stream = generator(0, "fake", split, num_classes, size)
    labels = np.arange(num_images, dtype=np.int64) % num_classes
    angle = np.pi * labels / num_classes
    frequency = 2 * np.pi * (1 + labels % 3) / size
    y, x = np.mgrid[:size, :size]
    along = (np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y) * frequency[:, None, None]
    phase = stream.uniform(0, 2 * np.pi, (num_images, 1, 1, 3))
    tint = _TINT * np.cos(2 * np.pi * (labels[:, None] / num_classes + np.arange(3) / 3))
    waves = 127 + tint[:, None, None] + 60 * np.sin(along[..., None] + phase)
    noise = stream.normal(0, _NOISE, waves.shape)
    return (waves + noise).clip(0, 255).astype(np.uint8), labels

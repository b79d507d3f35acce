"""Weights and inputs as functions of their name and shape, so that golden networks need no stored weights.

The golden figures beside this file are outputs of the public once-for-all and DϵpS implementations for
weights made by these rules. Each tensor draws from a stream seeded by its official name; values pass
through float16, so that they are the same on every platform.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def reference_networks() -> dict[str, Any]:
    """Golden figures by space name.

    Sources: mit-han-lab/once-for-all f03b267 and gatech-sysml/DepS 317b1e5, run on a CPU with torch 2.14.1.
    """
    return json.loads(Path(__file__).with_name("reference_networks.json").read_text())  # type: ignore[no-any-return]


def value(name: str, shape: tuple[int, ...]) -> Array:
    """The tensor of an official name."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    stream = np.random.RandomState(zlib.crc32(name.encode()))
    drawn = _drawn(stream, name, shape)
    return np.ascontiguousarray(drawn.reshape(shape).astype(np.float16).astype(np.float32))


def images(num_images: int, resolution: int) -> Array:
    """Smooth blobs plus noise, `(N, 3, R, R)`."""
    shape = (num_images, 3, resolution, resolution)
    return value("input/" + "x".join(map(str, shape)), shape)


def labels(num_images: int, num_classes: int) -> npt.NDArray[np.int64]:
    """Class indices."""
    stream = np.random.RandomState(zlib.crc32(f"labels/{num_images}/{num_classes}".encode()))
    return stream.randint(0, num_classes, num_images).astype(np.int64)


def _drawn(stream: np.random.RandomState, name: str, shape: tuple[int, ...]) -> Array:
    count = int(np.prod(shape))
    if name.startswith("input/"):
        coarse = stream.standard_normal(shape[0] * shape[1] * 16).reshape(*shape[:2], 4, 4)
        nearest = 4 * np.arange(shape[2]) // shape[2]
        noise = stream.standard_normal(count).reshape(shape)
        return coarse[:, :, nearest][:, :, :, nearest] + 0.5 * noise
    if name.endswith("running_var"):
        return stream.uniform(0.5, 1.5, count)
    if name.endswith("_matrix"):
        return np.identity(shape[0]).reshape(-1) + 0.05 * stream.standard_normal(count)
    if name.endswith("bn.weight"):
        return stream.uniform(0.75, 1.25, count)
    if name.endswith("se.fc.expand.bias"):
        return 1.5 + 0.5 * stream.standard_normal(count)
    if len(shape) == 1:
        return 0.05 * stream.standard_normal(count)
    if len(shape) == 4 and shape[1] == 1 and shape[2] >= 3:
        return stream.standard_normal(count).reshape(shape) * _taper(shape[2])
    return np.sqrt(_gain(name) / np.prod(shape[1:])) * stream.standard_normal(count)


def _taper(kernel_size: int) -> Array:
    """Weights of a depthwise kernel that fall off from its centre, of squared norm 2."""
    distance = np.abs(np.arange(kernel_size) - kernel_size // 2)
    taper = 2.0 ** -np.maximum(distance[:, None], distance[None, :])
    return taper / np.sqrt((taper**2).sum()) * np.sqrt(2.0)


def _gain(name: str) -> float:
    if ".conv3." in name:
        return 0.5
    if ".point_linear." in name or ".downsample." in name:
        return 1.0
    return 4.0 if "classifier" in name else 2.0

"""What tells one set of images from another: a run must not go on on other images than it began with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

# Every name and size is looked at, but only so many files are read: a fingerprint is taken at every start.
_FILES_READ = 64
_ROWS_AT_ONCE = 1000


def digest(parts: Iterable[bytes]) -> str:
    """SHA-256 of bytes in order, as hexadecimal digits."""
    summed = hashlib.sha256()
    for part in parts:
        summed.update(part)
    return summed.hexdigest()


def class_content(class_names: Sequence[str]) -> bytes:
    """The names of the labels 0, 1, ... as bytes."""
    return json.dumps(list(class_names)).encode()


def file_content(root: Path, paths: Sequence[Path]) -> Iterator[bytes]:
    """Names below `root` and sizes of files, and the bytes of some of them, evenly spread.

    Args:
        root: The folder; where it lies is left out.
        paths: Files below it, in order.
    """
    for path in paths:
        name = os.fsencode(path.relative_to(root).as_posix())
        yield name + b"\0" + str(path.stat().st_size).encode() + b"\n"
    for path in paths[:: max(1, len(paths) // _FILES_READ)]:
        yield path.read_bytes()


def array_content(images: npt.NDArray[np.uint8]) -> Iterator[bytes]:
    """The bytes of an array, a few rows at a time."""
    for start in range(0, len(images), _ROWS_AT_ONCE):
        yield images[start : start + _ROWS_AT_ONCE].tobytes()

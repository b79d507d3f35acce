"""`npz:` files: images and labels as arrays, checked before any of them is read into memory."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.datasets.arrays import ArrayDataset, Images, from_arrays, measured_preprocessing
from ofa_toolkit.datasets.dataset import Indices, LeftOut
from ofa_toolkit.datasets.folders import is_one_line
from ofa_toolkit.datasets.npz_conversion import conversion_line
from ofa_toolkit.datasets.request import DataRequest

NPZ_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
CONVERT = "train and finetune: --set data.convert=true"
"""The hint where images can be converted as they are read."""

Array = npt.NDArray[Any]

_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    SyntaxError,
    TokenError,
    OverflowError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zip raise for damaged files."""


def open_npz(request: DataRequest) -> ArrayDataset:
    """Open an `npz:` file: `{train,test}_images` uint8 (N, S, S, 3) and `{train,test}_labels` integer (N,).

    An optional text array `class_names` names the labels 0, 1, ...; without it they are their numbers.
    Labels of shape (N, 1) are taken as (N,).

    Raises:
        DataError: The file is missing, truncated, or its arrays do not fit together.
    """
    path, convert = request.path, request.convert
    with _opened(path) as archive:
        shapes = [_image_shape(archive, f"{split}_images", path, convert) for split in ("train", "test")]
        if shapes[0][1:] != shapes[1][1:]:
            raise DataError(f"'{path}': train_images are {shapes[0][1:]}, test_images {shapes[1][1:]}.")
        train_labels, test_labels = (
            _labels(archive, f"{split}_labels", shape[0], shapes[0][0], path)
            for split, shape in zip(("train", "test"), shapes, strict=True)
        )
        names = _class_names(archive, train_labels, test_labels, path)
        train, test = (_images(archive, f"{split}_images") for split in ("train", "test"))
        unread = sorted(set(archive.files) - {*NPZ_KEYS, "class_names"})
    return from_arrays(
        f"npz:{path}",
        (train, train_labels),
        (test, test_labels),
        request,
        class_names=names,
        preprocessing=request.preprocessing or measured_preprocessing(train),
        left_out=[LeftOut(path / name, "arrays that are not read") for name in unread],
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    expected = f"An npz: file holds the arrays {', '.join(NPZ_KEYS)}."
    if not path.is_file():
        raise DataError(f"No such file: '{path}'.", hint=expected)
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"'{path}' is not an npz file, or not all of it.", hint=expected)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            try:
                missing = [key for key in NPZ_KEYS if key not in archive.files]
                if missing:
                    has = ", ".join(archive.files) or "none"
                    raise DataError(f"'{path}' has no array '{missing[0]}'; it has {has}.", hint=expected)
                yield archive
            except DataError as error:
                with suppress(*_DAMAGE):
                    lines = [error.hint if error.hint == CONVERT else None, conversion_line(path, archive)]
                    error.hint = "; a new file: ".join(line for line in lines if line) or error.hint
                raise
    except _DAMAGE as error:
        raise DataError(
            f"'{path}' cannot be read as an npz file: {error}.", hint="Is it complete? Make it again."
        ) from error


def _header(archive: Any, key: str, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, without reading it."""
    with archive.zip.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, kind = read[version](member)
        size = archive.zip.getinfo(f"{key}.npy").file_size - member.tell()
    if kind.hasobject or math.prod(shape) * kind.itemsize > size:
        raise DataError(
            f"'{path}': {key} say they are {kind} {shape}; the file holds {size} bytes of them.",
            hint="Is it complete? Make it again, from arrays of numbers.",
        )
    return shape, kind


def _image_shape(archive: Any, key: str, path: Path, convert: bool) -> tuple[int, ...]:
    """Shape (N, S, S) of the images, checked."""
    shape, kind = _header(archive, key, path)
    is_grey = len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)
    is_float = np.issubdtype(kind, np.floating)
    stated = f"'{path}': {key} are {kind} {shape}"
    if not (is_grey or (len(shape) == 4 and shape[3] == 3)) or not (is_float or kind == np.uint8):
        raise DataError(f"{stated}; expected uint8 (N, S, S, 3).")
    if shape[1] != shape[2] or 0 in shape:
        raise DataError(f"{stated}; expected squares of at least one pixel.")
    if is_float:
        images = archive[key]
        least, most = float(images.min()), float(images.max())
        if not 0 <= least <= most <= 1:
            raise DataError(
                f"'{path}': {key} are floats from {least:g} to {most:g}; 0 to 1 can be converted.",
                hint="Store them as uint8 from 0 to 255.",
            )
    if (is_grey or is_float) and not convert:
        raise DataError(f"{stated}; expected uint8 (N, S, S, 3).", hint=CONVERT)
    return shape[:3]


def _images(archive: Any, key: str) -> Images:
    """Images as uint8 (N, S, S, 3)."""
    images: Array = archive[key]
    if images.dtype != np.uint8:
        images = np.rint(255 * images).astype(np.uint8)
    if images.shape[3:] != (3,):
        images = images.reshape(*images.shape[:3], 1).repeat(3, axis=3)
    return images


def _labels(archive: Any, key: str, num_images: int, num_train: int, path: Path) -> Indices:
    """Labels int64 (N,) from 0 up; as every class needs a training image, all are below their number."""
    shape, kind = _header(archive, key, path)
    if shape not in ((num_images,), (num_images, 1)):
        raise DataError(f"'{path}': {key} are {shape}, for {num_images} images; expected ({num_images},).")
    if not np.issubdtype(kind, np.integer):
        raise DataError(f"'{path}': {key} are {kind}; expected integers from 0 up.")
    labels: Array = archive[key].reshape(-1)
    # As Python's integers: a uint64 may hold what an int64 cannot.
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= num_train:
        raise DataError(
            f"'{path}': {key} go from {least} to {most}, for {num_train} training images.",
            hint="Number the classes 0, 1, 2, ...; each needs images.",
        )
    return labels.astype(np.int64)


def _class_names(archive: Any, train: Indices, test: Indices, path: Path) -> tuple[str, ...]:
    """Names of the classes that the training images have."""
    num_classes = int(train.max()) + 1
    if test.max() >= num_classes:
        count = int((test == test.max()).sum())
        raise DataError(
            f"'{path}': {count} of the test_labels are '{test.max()}', which no training image has.",
            hint="Add training images of that class, or take its test images out.",
        )
    unused = np.setdiff1d(np.arange(num_classes), train)
    if len(unused):
        raise DataError(
            f"'{path}': no training image has the label {unused[0]}; they go up to {num_classes - 1}.",
            hint="Number the classes 0, 1, 2, ...; each needs images.",
        )
    names = tuple(str(label) for label in range(num_classes))
    if "class_names" in archive.files:
        names = tuple(archive["class_names"].astype(str).reshape(-1).tolist())
        if len(names) < num_classes:
            raise DataError(f"'{path}': {len(names)} class_names for labels up to {num_classes - 1}.")
        bad = next((name for name in names if not is_one_line(name) or names.count(name) > 1), None)
        if bad is not None:
            raise DataError(
                f"'{path}': {bad!r} among the class_names is not one line of text, or there twice.",
                hint="Each class needs a name of its own.",
            )
    if len(names) < 2:
        raise DataError(
            f"'{path}': all images are of one class, '{names[0]}'; at least two classes are needed."
        )
    return names

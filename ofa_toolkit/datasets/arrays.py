"""Images that fit into memory: `npz:` files, and the base of every data set of small images."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets.dataset import (
    SPLITS,
    Batch,
    BatchRequest,
    ImageDataset,
    Indices,
    Split,
    hold_out,
)
from ofa_toolkit.datasets.transforms import (
    Preprocessing,
    TransformConfig,
    augment_batch,
    blank_patches,
    draw_augmentation,
    normalize,
    padding_pixels,
    resize_batch,
    stretch_boxes,
)

Images = npt.NDArray[np.uint8]

NPZ_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
_MEAN_SAMPLE = 10_000
_MEAN_CHUNK = 256


class ArrayDataset(ImageDataset):
    """Images held as uint8 arrays and augmented a batch at a time.

    Args:
        name: Where the images come from, for messages.
        class_names: One name per label.
        splits: Images (N, S, S, 3) and labels (N,) of each split; S is the same for all.
        preprocessing: `size` may differ from S: batches are then resized.
        transforms: Augmentation of training images.
    """

    def __init__(
        self,
        *,
        name: str,
        class_names: Sequence[str],
        splits: Mapping[Split, tuple[Images, Indices]],
        preprocessing: Preprocessing,
        transforms: TransformConfig,
    ) -> None:
        labels = {split: pair[1] for split, pair in splits.items()}
        super().__init__(name=name, class_names=class_names, labels=labels, preprocessing=preprocessing)
        self.transforms = transforms
        self.stored_size = int(splits["train"][0].shape[1])
        self._padding = padding_pixels(transforms, self.stored_size)
        border = ((0, 0), (self._padding, self._padding), (self._padding, self._padding), (0, 0))
        # The border is made once: at training time a crop is then a plain copy.
        self._padded: dict[Split, torch.Tensor] = {
            split: torch.from_numpy(np.pad(images, border, mode="reflect") if self._padding else images)
            for split, (images, _) in splits.items()
        }
        self._labels = {split: torch.from_numpy(values) for split, values in labels.items()}

    def _load(
        self, split: Split, requests: Iterable[BatchRequest], device: torch.device | str
    ) -> Iterator[Batch]:
        self._move(split, device)
        for request in requests:
            yield self._batch(split, request)

    def _batch(self, split: Split, request: BatchRequest) -> Batch:
        store = self._padded[split]
        chosen = torch.from_numpy(request.rows[request.part]).to(store.device)
        if request.stream is None:
            inner = slice(self._padding, self._padding + self.stored_size)
            images = normalize(store[chosen][:, inner, inner], self.preprocessing)
        else:
            seed, *labels = request.stream
            # Drawn for the whole batch, so that processes together see what one process would.
            stream = generator(int(seed), *labels)
            draw = draw_augmentation(self.transforms, stream, len(request.rows), self.stored_size)
            draw = draw.part(request.part)
            images = normalize(augment_batch(store, chosen, draw, self.stored_size), self.preprocessing)
            if draw.boxes is not None:
                images = stretch_boxes(images, draw.boxes)
            blank_patches(images, draw)
        images = resize_batch(images, request.resolution, self.preprocessing["interpolation"])
        return images, self._labels[split][chosen]

    def _move(self, split: Split, device: torch.device | str) -> None:
        if self._padded[split].device != torch.device(device):
            self._padded[split] = self._padded[split].to(device)
            self._labels[split] = self._labels[split].to(device)


def open_npz(
    path: Path,
    *,
    validation_size: int | None,
    seed: int,
    transforms: TransformConfig,
    preprocessing: Preprocessing | None,
) -> ArrayDataset:
    """Open an `npz:` file: `{train,test}_images` uint8 (N, S, S, 3) and `{train,test}_labels` integer (N,).

    An optional text array `class_names` names the labels 0, 1, ...; without it they are their numbers.

    Raises:
        DataError: The file is missing, truncated, or its arrays do not fit together.
    """
    arrays = _read_npz(path)
    train = _checked(arrays, "train", path)
    test = _checked(arrays, "test", path)
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(f"'{path}': train_images are {train[0].shape[1:]}, test_images {test[0].shape[1:]}.")
    class_names = _class_names(arrays, train[1], test[1], path)
    return from_arrays(
        f"npz:{path}",
        train,
        test,
        class_names=class_names,
        validation_size=validation_size,
        seed=seed,
        transforms=transforms,
        preprocessing=preprocessing or measured_preprocessing(train[0]),
    )


def from_arrays(
    name: str,
    train: tuple[Images, Indices],
    test: tuple[Images, Indices],
    *,
    class_names: Sequence[str],
    validation_size: int | None,
    seed: int,
    transforms: TransformConfig,
    preprocessing: Preprocessing,
) -> ArrayDataset:
    """Build an in-memory data set and hold validation images out of `train`.

    Raises:
        DataError: A class has no image in some split.
    """
    size = default_validation_size(len(train[1])) if validation_size is None else validation_size
    check_classes(train[1], class_names, f"{name}: training")
    check_classes(test[1], class_names, f"{name}: test")
    kept, held_out = hold_out(train[1], size, class_names, seed=seed)
    splits: dict[Split, tuple[Images, Indices]] = {
        "train": (train[0][kept], train[1][kept]),
        "validation": (train[0][held_out], train[1][held_out]),
        "test": test,
    }
    assert tuple(splits) == SPLITS
    return ArrayDataset(
        name=name, class_names=class_names, splits=splits, preprocessing=preprocessing, transforms=transforms
    )


def default_validation_size(num_train: int) -> int:
    """How many training images are held out unless told otherwise: a tenth, at most 10,000."""
    return min(10_000, max(1, num_train // 10))


def measured_preprocessing(images: Images) -> Preprocessing:
    """Normalisation from the images' own mean and standard deviation, from at most 10,000 of them."""
    # At random: stored order may interleave classes, and a stride would then pick some of them.
    rows = generator(0, "mean").permutation(len(images))[:_MEAN_SAMPLE]
    # Counted as integers: sums of float32 stop growing at 2 ** 24.
    counts = np.zeros((3, 256), dtype=np.int64)
    for part in np.array_split(rows, math.ceil(len(rows) / _MEAN_CHUNK)):
        pixels = images[part].reshape(-1, 3)
        counts += [np.bincount(pixels[:, channel], minlength=256) for channel in range(3)]
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    std = np.maximum(np.sqrt(counts @ values**2 / counts.sum(1) - mean**2), 1e-3)
    return Preprocessing(
        size=int(images.shape[1]),
        mean=[round(float(value), 4) for value in mean],
        std=[round(float(value), 4) for value in std],
        interpolation="bilinear",
        crop=1.0,
    )


def check_classes(labels: Indices, class_names: Sequence[str], where: str) -> None:
    """Raise `DataError` naming the first class without an image."""
    missing = np.setdiff1d(np.arange(len(class_names)), labels)
    if len(missing):
        raise DataError(
            f"{where}: class '{class_names[missing[0]]}' has no images.",
            hint="Add images to it or remove the class everywhere.",
        )


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise DataError(
            f"No such file: '{path}'.", hint=f"An npz: file holds the arrays {', '.join(NPZ_KEYS)}."
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [key for key in NPZ_KEYS if key not in archive.files]
            if missing:
                raise DataError(
                    f"'{path}' has no array '{missing[0]}'; it has {', '.join(archive.files) or 'none'}.",
                    hint=f"An npz: file holds the arrays {', '.join(NPZ_KEYS)}.",
                )
            wanted = [*NPZ_KEYS, *(key for key in ("class_names",) if key in archive.files)]
            return {key: archive[key] for key in wanted}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(
            f"'{path}' cannot be read as an npz file: {error}.", hint="Is it complete? Make it again."
        ) from error


def _checked(arrays: Mapping[str, npt.NDArray[Any]], split: str, path: Path) -> tuple[Images, Indices]:
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DataError(
            f"'{path}': {split}_images are {images.dtype} {images.shape}; expected uint8 (N, S, S, 3)."
        )
    if images.shape[1] != images.shape[2]:
        raise DataError(
            f"'{path}': {split}_images are {images.shape[1]} x {images.shape[2]} pixels; expected squares."
        )
    if len(images) == 0 or labels.ndim != 1 or len(labels) != len(images):
        raise DataError(f"'{path}': {len(images)} {split}_images and {split}_labels of shape {labels.shape}.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise DataError(f"'{path}': {split}_labels must be integers from 0 up.")
    return images, labels.astype(np.int64)


def _class_names(
    arrays: Mapping[str, npt.NDArray[Any]], train: Indices, test: Indices, path: Path
) -> tuple[str, ...]:
    num_classes = int(max(train.max(), test.max())) + 1
    if "class_names" not in arrays:
        return tuple(str(label) for label in range(num_classes))
    names = tuple(str(name) for name in arrays["class_names"])
    if len(names) < num_classes:
        raise DataError(f"'{path}': {len(names)} class_names for labels up to {num_classes - 1}.")
    return names

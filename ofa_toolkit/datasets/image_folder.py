"""Photos in folders, one folder a class.

Either `DIR/train/<class>/*.jpg` beside `DIR/test/...` and optionally `DIR/val/...` (or `validation`), or
`DIR/<class>/*.jpg` alone. Where there is no test folder, a fifth of the images of every class is set aside
as test set; where there is a `val` folder and no `test` folder, as in ImageNet, `val` is the test set and
validation images are held out of train, so that nothing is chosen by what is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.rng import torch_seed
from ofa_toolkit.datasets.arrays import (
    ArrayDataset,
    Images,
    check_classes,
    default_validation_size,
    measured_preprocessing,
)
from ofa_toolkit.datasets.dataset import Batch, BatchRequest, ImageDataset, Indices, Split, hold_out
from ofa_toolkit.datasets.picture import PictureError, read_picture
from ofa_toolkit.datasets.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    TransformConfig,
    photo_transform,
    square,
)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff", ".gif"})
IN_MEMORY_RESOLUTION = 64
"""Photos used at most this large are decoded once and kept in memory."""

_TEST_SHARE = 0.2
_TRAIN, _TEST, _VALIDATION = ("train",), ("test",), ("val", "validation", "valid")


@dataclass(frozen=True)
class _Files:
    """Files of some classes, and their labels."""

    paths: list[Path]
    labels: Indices

    def part(self, rows: Indices) -> _Files:
        return _Files([self.paths[row] for row in rows], self.labels[rows])


def open_image_folder(
    folder: Path,
    *,
    kind: str,
    class_folders: Sequence[str] | None,
    validation_size: int | None,
    seed: int,
    transforms: TransformConfig,
    preprocessing: Preprocessing | None,
    resolution: int | None,
    num_workers: int,
) -> ImageDataset:
    """Open photos in class folders.

    Args:
        folder: See the module's text.
        kind: For messages.
        class_folders: Use these classes in this order; all folders in alphabetical order where None.
        validation_size: Images held out of train where there is no validation folder of its own.
        seed: Of the held-out splits.
        transforms: Augmentation of training images.
        preprocessing: Of a trained network; ImageNet's normalisation where None.
        resolution: Side of the network input in pixels; 224 where neither this nor `preprocessing` says.
        num_workers: Processes that load photos.

    Raises:
        DataError: A folder is missing or empty, a class lacks images in a split, or an image is damaged
            (at once for small sizes, otherwise when it is met).
    """
    name = f"{kind}:{folder}"
    if not folder.is_dir():
        raise DataError(
            f"No such folder: '{folder}'.", hint="--data imagefolder:DIR needs one folder a class."
        )
    splits, class_names = _find_splits(folder, class_folders, validation_size, seed, name)
    size = resolution or (preprocessing["size"] if preprocessing else 224)
    stated = preprocessing or Preprocessing(
        size=size,
        mean=list(IMAGENET_MEAN),
        std=list(IMAGENET_STD),
        interpolation="bilinear",
        crop=1.0 if size <= IN_MEMORY_RESOLUTION else 0.875,
    )
    if size <= IN_MEMORY_RESOLUTION:
        images: dict[Split, tuple[Images, Indices]] = {
            split: (_decode_all(files.paths, stated), files.labels) for split, files in splits.items()
        }
        return ArrayDataset(
            name=name,
            class_names=class_names,
            splits=images,
            preprocessing=preprocessing or measured_preprocessing(images["train"][0]),
            transforms=transforms,
        )
    return PhotoDataset(
        name=name,
        class_names=class_names,
        splits=splits,
        preprocessing=stated,
        transforms=transforms,
        num_workers=num_workers,
    )


class PhotoDataset(ImageDataset):
    """Photos decoded when they are needed, by torchvision's v2 transforms in worker processes.

    Every image has its own random stream, so that augmentation is the same for any number of workers.
    """

    def __init__(
        self,
        *,
        name: str,
        class_names: Sequence[str],
        splits: dict[Split, _Files],
        preprocessing: Preprocessing,
        transforms: TransformConfig,
        num_workers: int,
    ) -> None:
        labels = {split: files.labels for split, files in splits.items()}
        super().__init__(name=name, class_names=class_names, labels=labels, preprocessing=preprocessing)
        self.splits = splits
        self.transforms = transforms
        self.num_workers = num_workers

    def _load(
        self, split: Split, requests: Iterable[BatchRequest], device: torch.device | str
    ) -> Iterator[Batch]:
        loader: DataLoader[Any] = DataLoader(
            _Reader(self.splits[split], self.preprocessing, self.transforms),
            batch_sampler=_Keys(requests),
            num_workers=self.num_workers,
            collate_fn=_collate,
            pin_memory=torch.device(device).type == "cuda",
        )
        for images, labels in loader:
            if isinstance(images, DataError):
                raise images
            yield (
                images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last),
                labels.to(device, non_blocking=True),
            )


_Key = tuple[int, int, int | None]
"""An image's row, its resolution, and the seed of its augmentation."""


class _Keys(Sampler[list[_Key]]):
    """Requests as the keys a loader sends to its workers."""

    def __init__(self, requests: Iterable[BatchRequest]) -> None:
        self.requests = requests

    def __iter__(self) -> Iterator[list[_Key]]:
        for request in self.requests:
            rows = request.rows[request.part]
            if request.stream is None:
                yield [(int(row), request.resolution, None) for row in rows]
                continue
            seed, *labels = request.stream
            places = range(len(request.rows))[request.part]
            yield [
                (int(row), request.resolution, torch_seed(int(seed), *labels, place))
                for row, place in zip(rows, places, strict=True)
            ]


class _Reader(TorchDataset[tuple[Tensor | DataError, int]]):
    """Reads and transforms one photo; runs in the workers."""

    def __init__(self, files: _Files, preprocessing: Preprocessing, transforms: TransformConfig) -> None:
        self.files = files
        self.preprocessing = preprocessing
        self.transforms = transforms

    def __getitem__(self, key: _Key) -> tuple[Tensor | DataError, int]:
        row, resolution, seed = key
        label = int(self.files.labels[row])
        try:
            image = read_image(self.files.paths[row])
        except DataError as error:
            # Returned, not raised: a loader would wrap it into pages of its own traceback.
            return error, label
        if seed is None:
            return photo_transform(self.preprocessing, resolution, None)(image), label
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return photo_transform(self.preprocessing, resolution, self.transforms)(image), label


def _collate(items: Sequence[tuple[Tensor | DataError, int]]) -> tuple[Tensor | DataError, Tensor]:
    images = []
    for image, _ in items:
        if isinstance(image, DataError):
            return image, torch.empty(0)
        images.append(image)
    return torch.stack(images), torch.tensor([label for _, label in items])


def read_image(path: Path) -> Image.Image:
    """Decode a photo as `read_picture` does.

    Raises:
        DataError: It is damaged or no image; names the file.
    """
    try:
        image: Image.Image = read_picture(path)
    except PictureError as error:
        raise DataError(
            f"'{path}' cannot be read as an image: {error}.", hint="Replace or remove the file."
        ) from error
    return image


def _decode_all(paths: Sequence[Path], preprocessing: Preprocessing) -> Images:
    """Photos as uint8 (N, size, size, 3), the squares that a network is judged on."""
    size = preprocessing["size"]
    cut = square(preprocessing, size)
    images = np.empty((len(paths), size, size, 3), dtype=np.uint8)
    for row, path in enumerate(paths):
        images[row] = np.asarray(cut(read_image(path)))
    return images


def _find_splits(
    folder: Path, class_folders: Sequence[str] | None, validation_size: int | None, seed: int, name: str
) -> tuple[dict[Split, _Files], list[str]]:
    """Files of each split, and the class names."""
    train_folder = _first(folder, _TRAIN)
    root = train_folder or folder
    names = list(class_folders) if class_folders is not None else _class_folders(root)
    train = _list_files(root, names)
    if train_folder is None:
        size = max(1, round(_TEST_SHARE * len(train.paths)))
        kept, tested = hold_out(train.labels, size, names, seed=seed)
        train, test = train.part(kept), train.part(tested)
        validation = None
    else:
        test_folder, validation_folder = _first(folder, _TEST), _first(folder, _VALIDATION)
        if test_folder is None and validation_folder is None:
            raise DataError(
                f"'{folder}' has a train folder but neither test nor val.",
                hint=f"Add one, or name the class folders themselves: imagefolder:{train_folder}",
            )
        test = _list_files(test_folder or validation_folder or folder, names)
        separate = validation_folder if test_folder is not None else None
        validation = _list_files(separate, names) if separate is not None else None
    if validation is None:
        size = default_validation_size(len(train.paths)) if validation_size is None else validation_size
        kept, held_out = hold_out(train.labels, size, names, seed=seed)
        train, validation = train.part(kept), train.part(held_out)
    splits: dict[Split, _Files] = {"train": train, "validation": validation, "test": test}
    for split, files in splits.items():
        check_classes(files.labels, names, f"{name}: {split}")
    return splits, names


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _class_folders(root: Path) -> list[str]:
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(names) < 2:
        raise DataError(
            f"'{root}' holds {len(names)} class folders; at least two are needed.",
            hint="Put the images of each class into a folder of its own.",
        )
    return names


def _list_files(root: Path, names: Sequence[str]) -> _Files:
    """All images below each class folder, in a fixed order."""
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        folder = root / name
        if not folder.is_dir():
            raise DataError(f"'{root}' has no folder for class '{name}'.", hint="Add it, with images.")
        found = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
        )
        if not found:
            raise DataError(
                f"Class '{name}' has no images in '{folder}'.",
                hint=f"Known endings: {', '.join(sorted(SUFFIXES))}.",
            )
        paths += found
        labels += [label] * len(found)
    return _Files(paths, np.array(labels, dtype=np.int64))

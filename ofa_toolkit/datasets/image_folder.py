"""Photos in folders, one folder a class; see `ofa_toolkit.datasets.folders` for how they may lie.

Where there is no test folder, a fifth of the images of every class is set aside as test set; where there is
a validation folder and no test folder, as in ImageNet, it is the test set and validation images are held out
of train, so that nothing is chosen by what is reported.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.datasets.arrays import ArrayDataset, Images, measured_preprocessing
from ofa_toolkit.datasets.dataset import ImageDataset, Indices, LeftOut, Split
from ofa_toolkit.datasets.fingerprint import file_content
from ofa_toolkit.datasets.folders import (
    HIDDEN,
    Files,
    beside,
    check_enough_classes,
    check_not_inside_out,
    class_folders,
    list_photos,
    split_folders,
)
from ofa_toolkit.datasets.imagenet import expected_classes
from ofa_toolkit.datasets.photos import PhotoDataset, read_image
from ofa_toolkit.datasets.request import DataRequest
from ofa_toolkit.datasets.splits import hold_out_test, hold_out_validation
from ofa_toolkit.datasets.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    square,
)

IN_MEMORY_RESOLUTION = 64
"""Photos used at most this large are decoded once and kept in memory."""


def open_image_folder(request: DataRequest) -> ImageDataset:
    """Open photos in class folders, ImageNet's among them.

    Without a resolution or preprocessing, images are 224 pixels large and normalised as ImageNet's are.

    Raises:
        DataError: A folder is missing, or not divided as it should be, a class has too few images, or an
            image is damaged (at once for small sizes, otherwise when it is met).
    """
    folder, preprocessing = request.path, request.preprocessing
    name = f"{request.kind}:{folder}"
    expected = expected_classes(request.kind, folder, request.class_list)
    if not folder.is_dir():
        raise DataError(
            f"No such folder: '{folder}'.", hint="imagefolder:DIR needs one folder a class in DIR."
        )
    splits, class_names = _find_splits(
        folder, expected, request.validation_size, request.seed, name, test_size=request.test_size
    )
    size = request.resolution or (preprocessing["size"] if preprocessing else 224)
    stated = preprocessing or _usual_preprocessing(size)
    own_splits = _own_splits(split_folders(folder))
    if size > IN_MEMORY_RESOLUTION:
        return PhotoDataset(
            name=name,
            folder=folder,
            class_names=class_names,
            splits=splits,
            preprocessing=stated,
            transforms=request.transforms,
            num_workers=request.num_workers,
            own_splits=own_splits,
        )
    images: dict[Split, tuple[Images, Indices]] = {
        split: (_decode_all(files.paths, stated, size), files.labels) for split, files in splits.items()
    }
    return SmallPhotoDataset(
        files=splits,
        name=name,
        class_names=class_names,
        splits=images,
        preprocessing=preprocessing or measured_preprocessing(images["train"][0]),
        transforms=request.transforms,
        own_splits=own_splits,
        left_out=[item for files in splits.values() for item in files.left_out],
        content=lambda split: file_content(folder, splits[split].paths),
    )


def _usual_preprocessing(size: int) -> Preprocessing:
    return Preprocessing(
        size=size,
        mean=list(IMAGENET_MEAN),
        std=list(IMAGENET_STD),
        interpolation="bilinear",
        crop=1.0 if size <= IN_MEMORY_RESOLUTION else 0.875,
    )


class SmallPhotoDataset(ArrayDataset):
    """Photos decoded once and kept in memory.

    For judging at another size than they are kept in, they are cut from the files again, as a bundle's runner
    cuts them.
    """

    def __init__(self, *, files: Mapping[Split, Files], **arrays: Any) -> None:
        super().__init__(**arrays)
        self._files = files
        self._other_sizes: dict[tuple[Split, int], torch.Tensor] = {}

    def picture_name(self, split: Split, row: int) -> str:
        """The picture's file."""
        return str(self._files[split].paths[row])

    def _squares(self, split: Split, resolution: int) -> torch.Tensor:
        if resolution == self.stored_size:
            return super()._squares(split, resolution)
        key = (split, resolution)
        if key not in self._other_sizes:
            images = _decode_all(self._files[split].paths, self.preprocessing, resolution)
            self._other_sizes[key] = torch.from_numpy(images)
        return self._other_sizes[key].to(self._images[split].device)


def _decode_all(paths: Sequence[Path], preprocessing: Preprocessing, size: int) -> Images:
    """Photos as uint8 (N, size, size, 3), the squares that a network is judged on."""
    cut = square(preprocessing, size)
    images = np.empty((len(paths), size, size, 3), dtype=np.uint8)
    for row, path in enumerate(paths):
        images[row] = np.asarray(cut(read_image(path)))
    return images


def _find_splits(
    folder: Path,
    classes: Sequence[str] | None,
    validation_size: int | None,
    seed: int,
    name: str,
    *,
    test_size: int | None = None,
) -> tuple[dict[Split, Files], list[str]]:
    """Files of each split, and the class names."""
    divided = split_folders(folder)
    root = divided.get("train", folder)
    found = class_folders(root)
    if classes is None:
        check_enough_classes(root, len(found), is_split=bool(divided))
        check_not_inside_out(root, found)
    names = list(found) if classes is None else list(classes)
    train = _list_files(root, found, names)
    empty = np.setdiff1d(np.arange(len(names)), train.labels)
    if len(empty):
        raise _no_photos(name, root, names[empty[0]], train.left_out)
    if not divided:
        train, test = train.divided(*hold_out_test(train.labels, test_size, names, seed=seed))
    else:
        train.left_out.extend(beside(folder, divided.values()))
        own = _own_splits(divided)
        if not own:
            raise DataError(
                f"'{folder}' has a train folder but neither test nor val.",
                hint=f"To have photos of it set aside: imagefolder:{root}",
            )
        test = _list_others(divided.get("test", divided.get("validation", folder)), root, names, classes)
        if "validation" in own:
            validation = _list_others(divided["validation"], root, names, classes)
            return {"train": train, "validation": validation, "test": test}, names
    train, validation = train.divided(*hold_out_validation(train.labels, validation_size, names, seed=seed))
    return {"train": train, "validation": validation, "test": test}, names


def _own_splits(divided: Collection[Split]) -> tuple[Split, ...]:
    """Which splits other than `train` have a folder; a validation folder alone is the test set."""
    others: tuple[Split, ...] = ("test", "validation")
    return others[: len(set(divided) - {"train"})]


def _list_files(root: Path, folders: Mapping[str, Path], names: Sequence[str]) -> Files:
    """All photos below the class folders, in a fixed order."""
    files = Files([], np.zeros(0, np.int64), beside(root, [*folders.values()]))
    labels: list[int] = []
    for label, name in enumerate(names):
        found = list_photos(folders[name], files.left_out) if name in folders else []
        files.paths.extend(found)
        labels += [label] * len(found)
    return dataclasses.replace(files, labels=np.array(labels, dtype=np.int64))


def _list_others(folder: Path, train: Path, names: Sequence[str], classes: Sequence[str] | None) -> Files:
    """Photos of a test or validation folder, which may lack a class but not have one that training lacks."""
    folders = class_folders(folder)
    for name in [] if classes is not None else sorted(folders.keys() - set(names)):
        count = len(list_photos(folders[name], []))
        if count:
            close = difflib.get_close_matches(name.lower(), [known.lower() for known in names], n=1)
            meant = next((known for known in names if [known.lower()] == close), None)
            raise DataError(
                f"'{folder}' holds {counted(count, 'photo')} of the class '{name}', of which '{train}' "
                "has none.",
                hint=f"Is '{meant}' meant? Rename the folder."
                if meant
                else "Add photos of it to the training images, or move that folder out of the data set.",
            )
    files = _list_files(folder, folders, names)
    if not files.paths:
        raise DataError(f"'{folder}' holds no photos of the classes {', '.join(names[:5])}.")
    return files


def _no_photos(name: str, root: Path, label: str, left_out: Sequence[LeftOut]) -> DataError:
    folder = root / label
    if not folder.is_dir():
        return DataError(f"{name}: '{root}' has no folder for class '{label}'.", hint="Add it, with images.")
    reasons = Counter(
        item.reason for item in left_out if folder in item.path.parents and item.reason != HIDDEN
    )
    hint = "Put photos into it, or move it out of the data set."
    if reasons:
        reason, count = reasons.most_common(1)[0]
        hint = f"It holds files that are left out: {count} {reason}."
    return DataError(f"{name}: class '{label}' has no images in '{folder}'.", hint=hint)

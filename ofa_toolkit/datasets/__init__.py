"""Data sets of labelled images, opened by one line of text (`npz:FILE`, `imagefolder:DIR`, ...)."""

from __future__ import annotations

import os
from pathlib import Path

from ofa_toolkit.core.errors import DataError, unknown_name
from ofa_toolkit.datasets.dataset import Batch, ImageDataset, Split
from ofa_toolkit.datasets.transforms import Preprocessing, TransformConfig

SOURCES = {
    "npz": "npz:FILE",
    "cifar10": "cifar10:DIR",
    "cifar100": "cifar100:DIR",
    "imagefolder": "imagefolder:DIR",
    "imagenet": "imagenet:DIR",
    "imagenet100": "imagenet100:DIR",
    "fake": "fake[:classes=10,size=32,train=640,test=200]",
}
"""Kinds of data sets and how each is written."""

_DOWNLOADABLE = ("cifar10", "cifar100")


def open_dataset(
    spec: str,
    *,
    validation_size: int | None = None,
    test_size: int | None = None,
    seed: int = 0,
    download: bool = False,
    transforms: TransformConfig | None = None,
    preprocessing: Preprocessing | None = None,
    resolution: int | None = None,
    num_workers: int = 0,
    class_list: Path | None = None,
    convert: bool = False,
) -> ImageDataset:
    """Open a data set.

    Args:
        spec: `kind:place`, see `SOURCES`.
        validation_size: Images held out of train where there are no others for validation; a tenth, at most
            10,000, where None. Each class gets one at least.
        test_size: Images set aside as test set, where there is none; a fifth where None.
        seed: Of the held-out splits.
        download: Fetch the files where torchvision can.
        transforms: Augmentation of training images; the defaults of `TransformConfig` where None.
        preprocessing: Of a trained network; the data set's own where None. A network must be judged on
            images prepared as those it was trained on.
        resolution: Side of the network input in pixels; the preprocessing's where None.
        num_workers: Processes that load photos; 0 loads them in this one. In-memory sets need none.
        class_list: For `imagenet100`: a text file of folder names, one a line; the published list where None.
        convert: For `npz`: also take grey images and floats from 0 to 1.

    Raises:
        DataError: The data set is missing, malformed, or lacks images of a class.
        UnknownNameError: No such kind.
    """
    kind, _, place = spec.partition(":")
    if kind not in SOURCES:
        raise unknown_name("data set", kind, SOURCES)
    if kind != "fake" and not place:
        raise DataError(f"'{spec}' names no place.", hint=f"Write it as {SOURCES[kind]}.")
    if download and kind not in _DOWNLOADABLE:
        raise DataError(f"'{kind}' cannot be downloaded.", hint=f"Only {' and '.join(_DOWNLOADABLE)} can.")
    if class_list is not None and kind != "imagenet100":
        raise DataError(f"A class list is for imagenet100, not for '{kind}'.")
    if convert and kind != "npz":
        raise DataError(f"data.convert is for npz files, not for '{kind}'.")
    place = place if kind == "fake" else os.path.expanduser(place)
    chosen = transforms or TransformConfig()
    if resolution is not None and preprocessing is not None:
        preprocessing = _resized(preprocessing, resolution)
    dataset: ImageDataset
    if kind == "npz":
        from ofa_toolkit.datasets.npz import open_npz

        dataset = open_npz(
            Path(place),
            convert=convert,
            validation_size=validation_size,
            seed=seed,
            transforms=chosen,
            preprocessing=preprocessing,
        )
    elif kind == "fake":
        from ofa_toolkit.datasets.fake import open_fake

        dataset = open_fake(
            place, validation_size=validation_size, seed=seed, transforms=chosen, preprocessing=preprocessing
        )
    elif kind in ("cifar10", "cifar100"):
        from ofa_toolkit.datasets.cifar import open_cifar

        dataset = open_cifar(
            "cifar10" if kind == "cifar10" else "cifar100",
            Path(place),
            download=download,
            validation_size=validation_size,
            seed=seed,
            transforms=chosen,
            preprocessing=preprocessing,
        )
    else:
        from ofa_toolkit.datasets.image_folder import open_image_folder
        from ofa_toolkit.datasets.imagenet import expected_classes

        dataset = open_image_folder(
            Path(place),
            kind=kind,
            class_folders=expected_classes(kind, Path(place), class_list),
            validation_size=validation_size,
            test_size=test_size,
            seed=seed,
            transforms=chosen,
            preprocessing=preprocessing,
            resolution=resolution,
            num_workers=num_workers,
        )
    dataset.source = spec
    if resolution is not None:
        dataset.preprocessing = _resized(dataset.preprocessing, resolution)
    return dataset


def _resized(preprocessing: Preprocessing, resolution: int) -> Preprocessing:
    return Preprocessing(
        size=resolution,
        mean=preprocessing["mean"],
        std=preprocessing["std"],
        interpolation=preprocessing["interpolation"],
        crop=preprocessing["crop"],
    )


__all__ = ["SOURCES", "Batch", "ImageDataset", "Preprocessing", "Split", "TransformConfig", "open_dataset"]

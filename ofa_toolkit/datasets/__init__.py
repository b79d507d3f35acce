"""Data sets of labelled images, opened by one line of text (`npz:FILE`, `imagefolder:DIR`, ...)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

from ofa_toolkit.core.errors import DataError, UnknownNameError
from ofa_toolkit.core.registry import Registry
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.datasets.dataset import Batch, ImageDataset, Split
from ofa_toolkit.datasets.request import DataRequest
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

_OPENERS: Registry[Callable[[DataRequest], ImageDataset]] = Registry(
    "data set",
    {
        "npz": "ofa_toolkit.datasets.npz:open_npz",
        "cifar10": "ofa_toolkit.datasets.cifar:open_cifar",
        "cifar100": "ofa_toolkit.datasets.cifar:open_cifar",
        "imagefolder": "ofa_toolkit.datasets.image_folder:open_image_folder",
        "imagenet": "ofa_toolkit.datasets.image_folder:open_image_folder",
        "imagenet100": "ofa_toolkit.datasets.image_folder:open_image_folder",
        "fake": "ofa_toolkit.datasets.fake:open_fake",
    },
)
_DOWNLOADABLE = ("cifar10", "cifar100")


@with_fields_of(DataRequest)
def open_dataset(request: DataRequest) -> ImageDataset:
    """Open a data set.

    Raises:
        DataError: The data set is missing, malformed, or lacks images of a class.
        UnknownNameError: No such kind.
    """
    kind, resolution = request.kind, request.resolution
    if kind not in _OPENERS and os.path.exists(place := os.path.expanduser(request.source)):
        raise UnknownNameError(
            f"'{request.source}' does not say of which kind it is. Known: {', '.join(SOURCES.values())}.",
            hint=f"Write it as {'imagefolder' if os.path.isdir(place) else 'npz'}:{request.source}",
        )
    open_kind = _OPENERS[kind]
    if kind != "fake" and not request.place:
        raise DataError(f"'{request.source}' names no place.", hint=f"Write it as {SOURCES[kind]}.")
    if request.download and kind not in _DOWNLOADABLE:
        raise DataError(f"'{kind}' cannot be downloaded.", hint=f"Only {' and '.join(_DOWNLOADABLE)} can.")
    if request.class_list is not None and kind != "imagenet100":
        raise DataError(f"A class list is for imagenet100, not for '{kind}'.")
    if request.convert and kind != "npz":
        raise DataError(f"data.convert is for npz files, not for '{kind}'.")
    if resolution is not None and request.preprocessing is not None:
        request = dataclasses.replace(request, preprocessing=_resized(request.preprocessing, resolution))
    dataset = open_kind(request)
    dataset.source = request.source
    if resolution is not None:
        dataset.preprocessing = _resized(dataset.preprocessing, resolution)
    return dataset


def _resized(preprocessing: Preprocessing, resolution: int) -> Preprocessing:
    return {**preprocessing, "size": resolution}


__all__ = ["SOURCES", "Batch", "ImageDataset", "Preprocessing", "Split", "TransformConfig", "open_dataset"]

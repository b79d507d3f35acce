"""Photos that are decoded when they are needed, by torchvision's transforms in worker processes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.rng import torch_seed
from ofa_toolkit.datasets.dataset import Batch, BatchRequest, ImageDataset, Picture, Split, pixel_digest
from ofa_toolkit.datasets.fingerprint import file_content
from ofa_toolkit.datasets.folders import Files
from ofa_toolkit.datasets.picture import PictureError, read_header, read_picture
from ofa_toolkit.datasets.transforms import Preprocessing, TransformConfig, photo_transform


class PhotoDataset(ImageDataset):
    """Photos decoded when they are needed, by torchvision's v2 transforms in worker processes.

    Every image has its own random stream, so that augmentation is the same for any number of workers.
    """

    unused_transforms: ClassVar = {"crop_padding": "crop_scale"}

    def __init__(
        self,
        *,
        name: str,
        folder: Path,
        class_names: Sequence[str],
        splits: dict[Split, Files],
        preprocessing: Preprocessing,
        transforms: TransformConfig,
        num_workers: int,
        own_splits: Collection[Split] = (),
    ) -> None:
        super().__init__(
            name=name,
            class_names=class_names,
            labels={split: files.labels for split, files in splits.items()},
            preprocessing=preprocessing,
            own_splits=own_splits,
            left_out=[item for files in splits.values() for item in files.left_out],
        )
        self.folder = folder
        self.splits = splits
        self.transforms = transforms
        self.num_workers = num_workers

    def picture_name(self, split: Split, row: int) -> str:
        """The picture's file."""
        return str(self.splits[split].paths[row])

    def pictures(self, split: Split) -> Iterator[Picture]:
        """Describe every photo of a split, in the order of its labels."""
        for path in self.splits[split].paths:
            try:
                width, height, mode = read_header(path)
            except PictureError as error:
                yield Picture(name=str(path), problem=str(error))
                continue
            digest = partial(_digest, path)
            yield Picture(name=str(path), width=width, height=height, mode=mode, digest=digest)

    def _content(self, split: Split) -> Iterable[bytes]:
        return file_content(self.folder, self.splits[split].paths)

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


def _digest(path: Path) -> bytes:
    return pixel_digest(np.asarray(read_picture(path)))


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

    def __init__(self, files: Files, preprocessing: Preprocessing, transforms: TransformConfig) -> None:
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

"""Photos without labels beside a data set: further images on which students imitate a network."""

from __future__ import annotations

import filecmp
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets.dataset import Batch, BatchRequest, ImageDataset, Indices, LeftOut, Split
from ofa_toolkit.datasets.fingerprint import digest, file_content
from ofa_toolkit.datasets.folders import Files, list_photos
from ofa_toolkit.datasets.photos import PhotoDataset
from ofa_toolkit.datasets.transforms import TransformConfig

_JUDGED: tuple[Split, ...] = ("validation", "test")
HELD_OUT = "held-out or test photos"


class UnlabelledPhotos:
    """All photos below a folder, prepared and augmented as the training images of a data set are.

    Copies of the data set's held-out and test photos are left out: nothing is learned from what is judged on.

    Args:
        folder: The folder; folders in it mean nothing.
        dataset: Opened for the run.
        transforms: Augmentation.
        num_workers: Processes that load photos.

    Raises:
        DataError: There is no such folder, or no photo in it.
    """

    def __init__(
        self, folder: Path, dataset: ImageDataset, *, transforms: TransformConfig, num_workers: int
    ) -> None:
        left_out: list[LeftOut] = []
        found = list_photos(folder, left_out) if folder.is_dir() else []
        copies = _copies(found, _judged_files(dataset))
        left_out += [LeftOut(path, HELD_OUT) for path in found if path in copies]
        paths = [path for path in found if path not in copies]
        if not paths:
            what = f"holds no photos but {HELD_OUT}" if found else "is no folder with photos"
            raise DataError(f"data.unlabelled: '{folder}' {what}.", hint="Photos may lie in it at any depth.")
        self.name = f"'{folder}'"
        files = Files(paths, np.zeros(len(paths), np.int64), left_out)
        self._photos = PhotoDataset(
            name=self.name,
            folder=folder,
            class_names=("unknown",),
            splits={"train": files},
            preprocessing=dataset.preprocessing,
            transforms=transforms,
            num_workers=num_workers,
        )
        self.left_out = tuple(left_out)

    @property
    def num_images(self) -> int:
        """Number of photos."""
        return self._photos.num_images("train")

    def fingerprint(self) -> str:
        """A hash of their names, sizes and some of their bytes, wherever the folder lies."""
        return digest(file_content(self._photos.folder, self._photos.splits["train"].paths))

    def rows_of_step(self, step: int, *, batch_size: int, steps_before: int, seed: int) -> Indices:
        """The photos of a step: the next of an endless sequence of passes, each in another order.

        Args:
            step: Number of the step in its epoch.
            batch_size: Photos of a step.
            steps_before: Steps of the epochs before.
            seed: Seed of the orders.
        """
        start = (steps_before + step) * batch_size
        passes, rows = np.divmod(np.arange(start, start + batch_size), self.num_images)
        orders = {
            number: generator(seed, "unlabelled order", int(number)).permutation(self.num_images)
            for number in np.unique(passes)
        }
        return np.array([orders[number][row] for number, row in zip(passes, rows, strict=True)])

    def mixed(
        self, labelled: Iterator[Batch], requests: Iterable[BatchRequest], device: torch.device | str
    ) -> Iterator[Batch]:
        """Batches with an unlabelled photo after each labelled image: (2 B, 3, R, R) beside labels (B,).

        Args:
            labelled: Batches of the labelled images, one a step.
            requests: Rows of the photos of each step.
            device: Device that the batches are put on.
        """
        others = self._photos._load("train", requests, device)
        for (images, labels), (more, _) in zip(labelled, others, strict=True):
            pairs = torch.stack([images, more], dim=1).flatten(0, 1)
            yield pairs.contiguous(memory_format=torch.channels_last), labels


def add_unlabelled(
    dataset: ImageDataset, folder: Path | None, *, transforms: TransformConfig, num_workers: int = 0
) -> None:
    """Give a data set the photos of a folder to mix in, if there is one; errors as of `UnlabelledPhotos`."""
    if folder is not None:
        dataset.unlabelled = UnlabelledPhotos(
            folder.expanduser(), dataset, transforms=transforms, num_workers=num_workers
        )


def _judged_files(dataset: ImageDataset) -> list[Path]:
    """Files of the held-out and the test images, where these are files."""
    names = (
        dataset.picture_name(split, row) for split in _JUDGED for row in range(dataset.num_images(split))
    )
    return [path for path in map(Path, names) if path.is_file()]


def _copies(paths: Iterable[Path], judged: Iterable[Path]) -> set[Path]:
    """Which files have the same bytes as one of some others."""
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for path in judged:
        by_size[path.stat().st_size].append(path)
    return {
        path
        for path in paths
        if any(filecmp.cmp(path, other, shallow=False) for other in by_size.get(path.stat().st_size, ()))
    }

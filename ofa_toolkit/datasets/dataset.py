"""What every data set offers: three splits, class names, preprocessing, and batches in a fixed order."""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets.fingerprint import class_content, digest
from ofa_toolkit.datasets.imagenet_names import imagenet_titles
from ofa_toolkit.datasets.transforms import Preprocessing

if TYPE_CHECKING:
    from ofa_toolkit.datasets.unlabelled import UnlabelledPhotos

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

Batch = tuple[Tensor, Tensor]
"""Normalised float32 images (B, 3, R, R) and int64 labels (B,)."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LeftOut:
    """A file or folder of a data set that is not read.

    Attributes:
        path: File or folder that is left out.
        reason: Why, such as its ending.
    """

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """One batch to load.

    Attributes:
        rows: Indices of its images, over all processes.
        resolution: Side in pixels.
        stream: Seed and labels of its random stream; None without augmentation.
        part: Slice of `rows` that this process takes.
    """

    rows: Indices
    resolution: int
    stream: tuple[int | str, ...] | None
    part: slice


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image as it is stored.

    Attributes:
        name: File or row of the picture.
        width: Width in pixels, upright.
        height: Height in pixels, upright.
        mode: Pillow's name of its colours and depth.
        digest: Reads its pixels, and gives what tells them from others; raises `PictureError`.
        problem: Why it cannot be read; None for one whose header can. The others are empty then.
    """

    name: str
    width: int = 0
    height: int = 0
    mode: str = ""
    digest: Callable[[], bytes] = bytes
    problem: str | None = None


def pixel_digest(pixels: npt.NDArray[np.uint8]) -> bytes:
    """What tells pictures of equal pixels (H, W, 3)."""
    return hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()


class ImageDataset(ABC):
    """Labelled images in three splits.

    `train` is what the weights see; `validation` is held out of it for search and for choosing a
    checkpoint; `test` is for reporting only.

    Args:
        name: Source of the images, for messages.
        class_names: One name per label.
        labels: Labels of each split.
        preprocessing: Size, crop and normalisation of the network's input.
        own_splits: Splits that came divided; the others were held out of these.
        left_out: Files among the images that are not read.

    Attributes:
        source: Text that `open_dataset` opened it by.
        output_names: Names of the network's outputs that the labels of batches count; `class_names` unless
            `name_outputs` said otherwise.
        own_outputs: Output of each class, one a class; None where the outputs are the classes in order.
        unlabelled: Further photos that `epoch` can mix in; None without any.
        unused_transforms: Fields of `TransformConfig` that do nothing here, and those that do instead.
    """

    unused_transforms: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        *,
        name: str,
        class_names: Sequence[str],
        labels: dict[Split, Indices],
        preprocessing: Preprocessing,
        own_splits: Collection[Split] = (),
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        self.name = name
        self.source = name
        self.class_names = tuple(class_names)
        self.preprocessing = preprocessing
        self.labels = labels
        self.own_splits = frozenset(own_splits)
        self.left_out = tuple(left_out)
        self.output_names = self.class_names
        self.own_outputs: tuple[int, ...] | None = None
        self.unlabelled: UnlabelledPhotos | None = None
        self._labeller: Callable[[Tensor], Tensor] | None = None

    def name_outputs(self, names: Sequence[str]) -> bool:
        """From now on number labels as a network with more classes does; False where it lacks a class.

        Args:
            names: Of the network's outputs. Folders called like ImageNet's are known by the names of their
                classes.
        """
        known = {name: index for index, name in enumerate(names)}
        titles = imagenet_titles()
        found = [known.get(name, known.get(titles.get(name, ""), -1)) for name in self.class_names]
        if -1 in found or len(set(found)) < len(found):
            return False
        self.output_names, self.own_outputs = tuple(names), tuple(found)
        return True

    def label_by(self, names: Sequence[str], labeller: Callable[[Tensor], Tensor]) -> None:
        """From now on batches to judge on have the labels that a network gives them, which has other classes.

        Args:
            names: Names of the network's outputs.
            labeller: From images (B, 3, R, R) to labels (B,).
        """
        self.output_names, self._labeller = tuple(names), labeller

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def resolution(self) -> int:
        """Side of the input images in pixels unless a batch asks for another."""
        return self.preprocessing["size"]

    def num_images(self, split: Split) -> int:
        """Number of images of a split."""
        return len(self.labels[split])

    def fingerprint(self) -> dict[str, str]:
        """A hash each of the class names, and of labels and images of the training and the held-out split.

        Where the images lie does not matter; those of the test split, which training never sees, neither.
        """
        seen: tuple[Split, ...] = ("train", "validation")
        found: dict[str, str] = {"classes": digest([class_content(self.class_names)])}
        for split in seen:
            found[split] = digest(itertools.chain([self.labels[split].tobytes()], self._content(split)))
        if self.unlabelled is not None:
            found["unlabelled"] = self.unlabelled.fingerprint()
        return found

    def steps_per_epoch(self, batch_size: int) -> int:
        """Full batches in one pass over the training images; the remainder is left out of that pass.

        Raises:
            DataError: There are fewer training images than a batch holds.
        """
        steps = self.num_images("train") // batch_size
        if steps == 0:
            raise DataError(
                f"{self.name} has {counted(self.num_images('train'), 'training image')}, fewer than the "
                f"batch size {batch_size}.",
                hint=f"--set training.batch_size={max(1, self.num_images('train') // 4)}",
            )
        return steps

    def rows(self, split: Split, *, limit: int | None = None, seed: int = 0) -> Indices:
        """The rows of a split that `batches` passes over, in its order unless it augments.

        Raises:
            DataError: There is no such split.
        """
        if split not in SPLITS:
            raise DataError(f"Unknown split '{split}'. Known: {', '.join(SPLITS)}.")
        rows: Indices = np.arange(self.num_images(split))
        if limit is not None and limit < len(rows):
            rows = np.sort(generator(seed, "subset", split).permutation(len(rows))[:limit])
        return rows

    def picture_name(self, split: Split, row: int) -> str:
        """What to call an image of a split: its file, or its number where it has none."""
        return f"{split} {row}"

    def batches(
        self,
        split: Split,
        batch_size: int,
        *,
        resolution: int | None = None,
        train_transforms: bool = False,
        limit: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> Iterator[Batch]:
        """Pass once over a split.

        Args:
            split: Part of the data set.
            batch_size: Images per batch; the last batch may be smaller.
            resolution: Side in pixels; the data set's own where None.
            train_transforms: Augment as in training (for recalibration).
            limit: Use a random subset of this many images, the same for equal seeds.
            seed: Seed of the subset and the augmentation.
            device: Device that the batches are put on.
        """
        rows = self.rows(split, limit=limit, seed=seed)
        if train_transforms:
            # Batch statistics must not come from runs of one class.
            rows = generator(seed, "subset order", split).permutation(rows)
        requests = (
            BatchRequest(
                rows=rows[start : start + batch_size],
                resolution=resolution or self.resolution,
                stream=(seed, "batches", step) if train_transforms else None,
                part=slice(None),
            )
            for step, start in enumerate(range(0, len(rows), batch_size))
        )
        yield from self._numbered(self._load(split, requests, device))

    def epoch(
        self,
        epoch: int,
        batch_size: int,
        *,
        seed: int,
        first_step: int = 0,
        resolution_of: Callable[[int], int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        with_unlabelled: bool = False,
    ) -> Iterator[Batch]:
        """Training batches of one epoch, shuffled and augmented.

        Batch `step` of epoch `epoch` is a function of the seed alone: not of the number of workers, of
        the steps asked for before, or (taken together) of the number of processes.

        Args:
            epoch: Number of the pass, from 0.
            batch_size: Images of a step over all processes; divisible by `world_size`.
            seed: Seed of order and augmentation.
            first_step: First batch within the epoch, from 0.
            resolution_of: Side in pixels of a step within the epoch; the data set's own where None.
            rank: Number of this process.
            world_size: Number of processes.
            device: Device that the batches are put on.
            with_unlabelled: Whether a photo of `unlabelled`, if there are any, follows each image; the batch
                then has twice as many images as labels.
        """
        order = generator(seed, "order", epoch).permutation(self.num_images("train"))
        share = batch_size // world_size

        def requests(rows_of: Callable[[int], Indices], stream: str) -> Iterator[BatchRequest]:
            for step in range(first_step, self.steps_per_epoch(batch_size)):
                yield BatchRequest(
                    rows=rows_of(step),
                    resolution=self.resolution if resolution_of is None else resolution_of(step),
                    stream=(seed, stream, epoch, step),
                    part=slice(rank * share, (rank + 1) * share),
                )

        batches = self._load(
            "train",
            requests(lambda step: order[step * batch_size : (step + 1) * batch_size], "augmentation"),
            device,
        )
        # Whoever trains on a network's predictions asks it himself.
        batches = batches if self._labeller is not None else self._numbered(batches)
        if with_unlabelled and (others := self.unlabelled) is not None:
            before = epoch * self.steps_per_epoch(batch_size)
            rows_of = partial(others.rows_of_step, batch_size=batch_size, steps_before=before, seed=seed)
            batches = others.mixed(batches, requests(rows_of, "unlabelled augmentation"), device)
        yield from batches

    def _numbered(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches with labels that count the network's outputs."""
        if self._labeller is not None:
            for images, _ in batches:
                yield images, self._labeller(images)
            return
        if self.own_outputs is None:
            yield from batches
            return
        outputs = torch.tensor(self.own_outputs)
        for images, labels in batches:
            yield images, outputs.to(labels.device)[labels]

    @abstractmethod
    def pictures(self, split: Split) -> Iterator[Picture]:
        """Describe every image of a split, in the order of its labels; decoding none."""

    @abstractmethod
    def _content(self, split: Split) -> Iterable[bytes]:
        """What tells the images of a split from others, whatever place they are read from."""

    @abstractmethod
    def _load(
        self, split: Split, requests: Iterable[BatchRequest], device: torch.device | str
    ) -> Iterator[Batch]:
        """Load batches one after the other; `requests` may be read ahead of them."""

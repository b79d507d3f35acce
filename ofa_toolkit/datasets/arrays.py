"""Images that fit into memory: the base of every data set of small images."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from ofa_toolkit.core.rng import generator, torch_seed
from ofa_toolkit.datasets.dataset import (
    SPLITS,
    Batch,
    BatchRequest,
    ImageDataset,
    Indices,
    LeftOut,
    Picture,
    Split,
    pixel_digest,
)
from ofa_toolkit.datasets.fingerprint import array_content
from ofa_toolkit.datasets.request import DataRequest
from ofa_toolkit.datasets.splits import hold_out_validation
from ofa_toolkit.datasets.transforms import (
    Preprocessing,
    TransformConfig,
    apply_policies,
    augment_batch,
    blank_patches,
    draw_augmentation,
    has_policies,
    normalize,
    padding_pixels,
    resize_batch,
    stretch_boxes,
)

Images = npt.NDArray[np.uint8]

_MEAN_SAMPLE = 10_000
_MEAN_CHUNK = 256


class ArrayDataset(ImageDataset):
    """Images held as uint8 arrays and augmented a batch at a time.

    Args:
        name: Source of the images, for messages.
        class_names: One name per label.
        splits: Images (N, S, S, 3) and labels (N,) of each split; S is the same for all.
        preprocessing: `size` may differ from S: batches are then resized.
        transforms: Augmentation of training images.
        own_splits: As for `ImageDataset`.
        left_out: Files that are not read, as for `ImageDataset`.
        content: Tells the images of a split from others; the arrays themselves where None. Decoded photos
            differ with the release of the decoder.
    """

    unused_transforms: ClassVar = {"crop_scale": "resized_crop"}

    def __init__(
        self,
        *,
        name: str,
        class_names: Sequence[str],
        splits: Mapping[Split, tuple[Images, Indices]],
        preprocessing: Preprocessing,
        transforms: TransformConfig,
        own_splits: Collection[Split] = (),
        left_out: Sequence[LeftOut] = (),
        content: Callable[[Split], Iterable[bytes]] | None = None,
    ) -> None:
        labels = {split: pair[1] for split, pair in splits.items()}
        super().__init__(
            name=name,
            class_names=class_names,
            labels=labels,
            preprocessing=preprocessing,
            own_splits=own_splits,
            left_out=left_out,
        )
        self.transforms = transforms
        self.stored_size = int(splits["train"][0].shape[1])
        self._padding = padding_pixels(transforms, self.stored_size)
        self._images = {split: torch.from_numpy(images) for split, (images, _) in splits.items()}
        self._padded: dict[Split, torch.Tensor] = {}
        self._labels = {split: torch.from_numpy(values) for split, values in labels.items()}
        self._stated_content = content

    def _content(self, split: Split) -> Iterable[bytes]:
        if self._stated_content is not None:
            return self._stated_content(split)
        return array_content(self._images[split].cpu().numpy())

    def pictures(self, split: Split) -> Iterator[Picture]:
        """Describe every image of a split, in the order of its labels."""
        for row, image in enumerate(self._images[split]):
            pixels = image.cpu().numpy()
            yield Picture(
                name=self.picture_name(split, row),
                width=self.stored_size,
                height=self.stored_size,
                mode="RGB",
                digest=partial(pixel_digest, pixels),
            )

    def _load(
        self, split: Split, requests: Iterable[BatchRequest], device: torch.device | str
    ) -> Iterator[Batch]:
        self._move(split, device)
        for request in requests:
            yield self._batch(split, request)

    def _batch(self, split: Split, request: BatchRequest) -> Batch:
        chosen = torch.from_numpy(request.rows[request.part]).to(self._images[split].device)
        if request.stream is None:
            images = normalize(self._squares(split, request.resolution)[chosen], self.preprocessing)
        else:
            seed, *labels = request.stream
            # Drawn for the whole batch, so that processes together see what one process would.
            stream = generator(int(seed), *labels)
            draw = draw_augmentation(self.transforms, stream, len(request.rows), self.stored_size)
            draw = draw.part(request.part)
            cropped = augment_batch(self._with_border(split), chosen, draw, self.stored_size)
            if has_policies(self.transforms):
                places = range(len(request.rows))[request.part]
                seeds = (torch_seed(int(seed), *labels, place) for place in places)
                cropped = apply_policies(cropped, self.transforms, seeds)
            images = normalize(cropped, self.preprocessing)
            if draw.boxes is not None:
                images = stretch_boxes(images, draw.boxes)
            blank_patches(images, draw)
        images = resize_batch(images, request.resolution, self.preprocessing["interpolation"])
        return images, self._labels[split][chosen]

    def _squares(self, split: Split, resolution: int) -> torch.Tensor:  # noqa: ARG002
        """Images (N, S, S, 3) that networks of a resolution are judged on; resized where S is another."""
        return self._images[split]

    def _with_border(self, split: Split) -> torch.Tensor:
        """All images with the border that crops need, made when a split is first augmented.

        A crop is then a plain copy. The images themselves become a view of it, so that they are held once.
        """
        if split not in self._padded:
            images, width = self._images[split], (self._padding, self._padding)
            if self._padding:
                padded = np.pad(images.cpu().numpy(), ((0, 0), width, width, (0, 0)), mode="reflect")
                images = torch.from_numpy(padded).to(images.device)
            self._hold(split, images)
        return self._padded[split]

    def _hold(self, split: Split, padded: torch.Tensor) -> None:
        inner = slice(self._padding, self._padding + self.stored_size)
        self._padded[split], self._images[split] = padded, padded[:, inner, inner]

    def _move(self, split: Split, device: torch.device | str) -> None:
        if self._images[split].device == torch.device(device):
            return
        self._labels[split] = self._labels[split].to(device)
        if split in self._padded:
            self._hold(split, self._padded[split].to(device))
        else:
            self._images[split] = self._images[split].to(device)


def from_arrays(
    name: str,
    train: tuple[Images, Indices],
    test: tuple[Images, Indices],
    request: DataRequest,
    *,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    left_out: Sequence[LeftOut] = (),
) -> ArrayDataset:
    """Build an in-memory data set and hold validation images out of `train`.

    Args:
        name: Source of the images, for messages.
        train: Images and labels.
        test: Images and labels.
        request: Sizes of the splits, seed and augmentation.
        class_names: One name per label.
        preprocessing: Size, crop and normalisation of the network's input.
        left_out: Parts of the data set that are not read.

    Raises:
        DataError: A class has too few training images.
    """
    own: tuple[Split, ...] = ("test",)
    kept, held_out = hold_out_validation(train[1], request.validation_size, class_names, seed=request.seed)
    splits: dict[Split, tuple[Images, Indices]] = {
        "train": (train[0][kept], train[1][kept]),
        "validation": (train[0][held_out], train[1][held_out]),
        "test": test,
    }
    assert tuple(splits) == SPLITS
    return ArrayDataset(
        name=name,
        class_names=class_names,
        splits=splits,
        preprocessing=preprocessing,
        transforms=request.transforms,
        own_splits=own,
        left_out=left_out,
    )


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
    variance = counts @ values**2 / counts.sum(1) - mean**2
    std = np.sqrt(np.maximum(variance, 1e-6))  # images of one colour have none, or less by rounding
    return Preprocessing(
        size=int(images.shape[1]),
        mean=[round(float(value), 4) for value in mean],
        std=[round(float(value), 4) for value in std],
        interpolation="bilinear",
        crop=1.0,
    )

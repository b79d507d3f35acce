"""What a data set holds, in a line or in full, and what its user should know about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.datasets.dataset import SPLITS, ImageDataset, Indices, Split
from ofa_toolkit.datasets.folders import HIDDEN
from ofa_toolkit.datasets.transforms import TransformConfig

_UNBALANCED = 5
"""Times as many training images as the rarest class has, from which the user is told."""


def summary(dataset: ImageDataset) -> str:
    """Classes and images in one line."""
    counts = class_counts(dataset, SPLITS)
    sizes = ", ".join(f"{dataset.num_images(split)} {split}" for split in SPLITS)
    least, most = counts.min(), counts.max()
    each = f"{least} to {most}" if least < most else str(most)
    told = f"{dataset.name}: {dataset.num_classes} classes, {counts.sum()} images ({sizes}), {each} a class"
    more = dataset.unlabelled
    return (
        told if more is None else f"{told}, and {counted(more.num_images, 'unlabelled photo')} in {more.name}"
    )


def class_counts(dataset: ImageDataset, splits: Sequence[Split]) -> Indices:
    """Images of each class over some splits, (classes,)."""
    labels = np.concatenate([dataset.labels[split] for split in splits])
    return np.bincount(labels, minlength=dataset.num_classes)


def warnings(dataset: ImageDataset, *, is_weighted: bool = False) -> list[str]:
    """What a user should know: files left out, classes a split lacks, classes far rarer than others.

    Args:
        dataset: An opened data set.
        is_weighted: Whether classes weigh alike in the loss, however many images they have.
    """
    found = []
    for images in (dataset, dataset.unlabelled):
        reasons = Counter(
            item.reason for item in (images.left_out if images else ()) if item.reason != HIDDEN
        )
        if images is not None and reasons:
            listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            found.append(f"Left out of {images.name}: {listed}.")
    for split in ("validation", "test"):
        counts = class_counts(dataset, (split,))
        absent = [dataset.class_names[label] for label in np.flatnonzero(counts == 0)]
        if absent:
            more = f" and {counted(len(absent) - 3, 'more class')}" if len(absent) > 3 else ""
            names = ", ".join(f"'{name}'" for name in absent[:3])
            found.append(f"No {split} image is of {names}{more}: its accuracies say nothing about them.")
    counts = class_counts(dataset, ("train",))
    if counts.max() >= _UNBALANCED * counts.min() and not is_weighted:
        most, least = (dataset.class_names[int(label)] for label in (counts.argmax(), counts.argmin()))
        found.append(
            f"Class '{most}' has {counts.max() / counts.min():.0f} times the training images of '{least}'; "
            "--set data.class_weights=balanced lets them weigh alike."
        )
    return found


def check_transforms_are_used(dataset: ImageDataset, transforms: TransformConfig) -> None:
    """Refuse an augmentation that this data set has no use for.

    Raises:
        DataError: One is set to another value than its default.
    """
    for name, other in dataset.unused_transforms.items():
        if getattr(transforms, name) != getattr(TransformConfig, name):
            raise DataError(
                f"data.transforms.{name} '{getattr(transforms, name)}' has no use for the images of "
                f"{dataset.name}.",
                hint=f"They are cropped by data.transforms.{other}: "
                f"--set data.transforms.{name}={getattr(TransformConfig, name)}",
            )


def check_sizes_are_used(dataset: ImageDataset, validation_size: int | None, test_size: int | None) -> None:
    """Refuse the size of a split that the data set brings along.

    Raises:
        DataError: A size is given and has no use.
    """
    sizes: dict[Split, int | None] = {"validation": validation_size, "test": test_size}
    for split, size in sizes.items():
        if size is not None and split in dataset.own_splits:
            raise DataError(
                f"{split}_size '{size}' has no use: {dataset.name} has {split} images of its own, "
                f"{dataset.num_images(split)} of them.",
                hint="Leave it out.",
            )

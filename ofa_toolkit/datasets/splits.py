"""Hold images out of a set at random: of each class in proportion, and at least one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets.dataset import Indices

VALIDATION_SHARE, VALIDATION_AT_MOST = 0.1, 10_000
"""Images held out of train unless told otherwise."""

TEST_SHARE = 0.2
"""Images set aside as test set, where there is none, unless told otherwise."""


def hold_out_validation(
    labels: Indices, size: int | None, class_names: Sequence[str], *, seed: int
) -> tuple[Indices, Indices]:
    """Split training images into rows (kept, held out); `size` is the default where None.

    Raises:
        DataError: A class has fewer than 2 images, or not every class can have one on both sides.
    """
    default = min(VALIDATION_AT_MOST, int(VALIDATION_SHARE * len(labels)))
    return _hold_out(labels, size, default, class_names, seed=seed, splits=("training", "validation"))


def hold_out_test(
    labels: Indices, size: int | None, class_names: Sequence[str], *, seed: int
) -> tuple[Indices, Indices]:
    """Split images into rows (kept, set aside as test set) such that validation images can follow.

    Raises:
        DataError: A class has fewer than 3 images, or not every class can have one in each split.
    """
    default = round(TEST_SHARE * len(labels))
    return _hold_out(labels, size, default, class_names, seed=seed, splits=("training", "validation", "test"))


def _hold_out(
    labels: Indices,
    size: int | None,
    default: int,
    class_names: Sequence[str],
    *,
    seed: int,
    splits: Sequence[str],
) -> tuple[Indices, Indices]:
    """Rows (kept, held out), both sorted; a class keeps an image for each of `splits` but the last."""
    counts = np.bincount(labels, minlength=len(class_names))
    rare = np.flatnonzero(counts < len(splits))
    if len(rare):
        listed = ", ".join(f"'{class_names[label]}' ({counts[label]})" for label in rare[:5])
        raise DataError(
            f"Too few images of {len(rare)} class{'es' * (len(rare) > 1)}: {listed}. The least are "
            f"{len(splits)} each, one for {', '.join(splits[:-1])} and {splits[-1]}.",
            hint="Add images, or take these classes out of the data set.",
        )
    most = counts - (len(splits) - 1)
    if size is None:
        size = int(np.clip(default, len(class_names), most.sum()))
    elif not len(class_names) <= size <= most.sum():
        option = f"{splits[-1]}_size"
        nearest = int(np.clip(size, len(class_names), most.sum()))
        raise DataError(
            f"data.{option}: '{size}' of {len(labels)} images cannot be held out; {len(class_names)} to "
            f"{most.sum()} can, so that each of the {len(class_names)} classes has one in every split.",
            hint=f"train and finetune: --set data.{option}={nearest}; "
            f"evaluate: --{option.replace('_', '-')} {nearest}",
        )
    order = generator(seed, "hold out").permutation(len(labels))
    members = [order[labels[order] == label] for label in range(len(class_names))]
    taken = _allot(labels, order, members, size, most)
    chosen = [rows[:count] for rows, count in zip(members, taken, strict=True)]
    held_out = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def _allot(labels: Indices, order: Indices, members: Sequence[Indices], size: int, most: Indices) -> Indices:
    """How many images of each class are held out: in proportion, at least one, at most `most`."""
    position = np.empty(len(labels))
    for rows in members:
        # Spread every class evenly over 0..1: a prefix then holds each class in proportion.
        position[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    ranked = order[np.argsort(position[order], kind="stable")]
    counts = np.array([len(rows) for rows in members])
    taken = np.clip(np.bincount(labels[ranked[:size]], minlength=len(members)), 1, most)
    while taken.sum() > size:
        taken[np.argmax(np.where(taken > 1, taken / counts, -1.0))] -= 1
    while taken.sum() < size:
        taken[np.argmin(np.where(taken < most, taken / counts, 2.0))] += 1
    return taken

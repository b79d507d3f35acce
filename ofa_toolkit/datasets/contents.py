"""What a data set holds, from reading its pictures: sizes, modes, damage, pictures that are there twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets.dataset import SPLITS, ImageDataset, Split
from ofa_toolkit.datasets.picture import PictureError
from ofa_toolkit.datasets.report import class_counts, summary, warnings

SAMPLE = 5000
"""Pictures that are decoded of a larger data set unless all are asked for."""


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """Images of a class in each split."""

    name: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a picture lies: its split, class, and file or row."""

    split: Split
    class_name: str
    picture: str


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file that is not read, or that cannot be."""

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a data set holds.

    Attributes:
        summary: In one line.
        splits: Images of each.
        classes: Images of each class.
        balance: Training images of the largest class over those of the smallest.
        sizes: `WIDTH x HEIGHT` in pixels, upright, and how many pictures have it, the most frequent first.
        modes: Number of pictures by colour mode, such as `RGB`, `L` (grey) or `I;16` (16-bit grey).
        left_out: Files and folders that are not read.
        num_decoded: Pictures of which more than the header was read, so that damage and repetition are known.
        unreadable: Pictures that training will stop at.
        repeated: Groups of pictures with the same pixels in two splits or of two classes.
        warnings: Faults that the user should know of.
    """

    summary: str
    splits: dict[Split, int]
    classes: tuple[ClassCount, ...]
    balance: float
    sizes: dict[str, int]
    modes: dict[str, int]
    left_out: tuple[Skipped, ...]
    num_decoded: int
    unreadable: tuple[Skipped, ...]
    repeated: tuple[tuple[Place, ...], ...]
    warnings: tuple[str, ...]


def read_contents(
    dataset: ImageDataset,
    reporter: Reporter = SILENT,
    *,
    most_decoded: int | None = SAMPLE,
) -> Contents:
    """Read the headers of all pictures, and decode all of them, or a random sample of a large data set.

    Args:
        dataset: Opened.
        most_decoded: Pictures that are decoded at most; None for all.
        reporter: Hears how far it is.
    """
    sizes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    unreadable: list[Skipped] = []
    places: defaultdict[bytes, list[Place]] = defaultdict(list)
    done, total = 0, sum(len(labels) for labels in dataset.labels.values())
    sample = _sample([dataset.num_images(split) for split in SPLITS], most_decoded)
    for split, decoded in zip(SPLITS, sample, strict=True):
        described = zip(dataset.labels[split], decoded, dataset.pictures(split), strict=True)
        for label, is_decoded, picture in described:
            done += 1
            reporter.progress(Progress("Reading pictures", done, total))
            try:
                if picture.problem is not None:
                    raise PictureError(picture.problem)
                digest = picture.digest() if is_decoded else None
            except PictureError as error:
                unreadable.append(Skipped(file=picture.name, reason=str(error)))
                continue
            sizes[f"{picture.width} x {picture.height}"] += 1
            modes[picture.mode] += 1
            name = dataset.class_names[label]
            if digest is not None:
                places[digest].append(Place(split=split, class_name=name, picture=picture.name))
    repeated = tuple(tuple(group) for group in places.values() if _crosses(group))
    counts = {split: class_counts(dataset, (split,)).tolist() for split in SPLITS}
    return Contents(
        summary=summary(dataset),
        splits={split: dataset.num_images(split) for split in SPLITS},
        classes=tuple(
            ClassCount(name=name, **{split: counts[split][label] for split in SPLITS})
            for label, name in enumerate(dataset.class_names)
        ),
        balance=max(counts["train"]) / min(counts["train"]),
        sizes=dict(sizes.most_common()),
        modes=dict(modes.most_common()),
        left_out=tuple(Skipped(file=str(item.path), reason=item.reason) for item in dataset.left_out),
        num_decoded=sum(int(decoded.sum()) for decoded in sample),
        unreadable=tuple(unreadable),
        repeated=repeated,
        warnings=(*warnings(dataset), *_problems(len(unreadable), repeated)),
    )


def _crosses(group: Sequence[Place]) -> bool:
    """Whether one picture lies in several splits or several classes."""
    return len({place.split for place in group}) > 1 or len({place.class_name for place in group}) > 1


def _sample(sizes: Sequence[int], most: int | None) -> list[npt.NDArray[np.bool_]]:
    """Which images of each split are decoded."""
    total = sum(sizes)
    chosen = np.ones(total, dtype=bool)
    if most is not None and total > most:
        chosen[:] = False
        chosen[generator(0, "data", "sample").choice(total, most, replace=False)] = True
    return np.split(chosen, np.cumsum(sizes)[:-1])


def _problems(num_unreadable: int, repeated: tuple[tuple[Place, ...], ...]) -> list[str]:
    found = []
    if num_unreadable:
        found.append(
            f"Cannot be read: {counted(num_unreadable, 'picture')}. Training stops there: replace or remove."
        )
    leaks = sum(len({place.split for place in group}) > 1 for group in repeated)
    if leaks:
        found.append(f"In two splits: {counted(leaks, 'picture')}. Accuracies on such say little.")
    if len(repeated) > leaks:
        found.append(f"Under two classes: {counted(len(repeated) - leaks, 'picture')}.")
    return found

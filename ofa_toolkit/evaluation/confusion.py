"""Which classes a network takes for which others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """How well one class is known.

    Attributes:
        name: Name of the class.
        num_images: Images of it.
        num_predicted: Images that were taken for it, rightly or not.
        recall_percent: Share of its images that were taken for it; None without images of it.
        precision_percent: Share of the images taken for it that are of it; None where none was.
    """

    name: str
    num_images: int
    num_predicted: int
    recall_percent: float | None
    precision_percent: float | None


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """Images of one class that were taken for another."""

    class_name: str
    taken_for: str
    num_images: int


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """Counts of images by class and prediction.

    Attributes:
        class_names: In the order of the labels.
        counts: Images (classes, classes): of the row's class, taken for the column's.
    """

    class_names: tuple[str, ...]
    counts: Counts

    @property
    def top1_percent(self) -> float:
        """Share of images taken for their own class."""
        return float(100 * np.trace(self.counts) / self.counts.sum())

    def classes(self) -> tuple[ClassFigures, ...]:
        """Recall and precision of every class."""
        right, images, predicted = np.diag(self.counts), self.counts.sum(1), self.counts.sum(0)
        return tuple(
            ClassFigures(
                name=name,
                num_images=int(images[label]),
                num_predicted=int(predicted[label]),
                recall_percent=_percent(right[label], images[label]),
                precision_percent=_percent(right[label], predicted[label]),
            )
            for label, name in enumerate(self.class_names)
        )

    def most_confused(self, limit: int) -> tuple[ConfusedPair, ...]:
        """The at most `limit` pairs with the most mistakes; equal ones in the order of classes."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
        places = [(int(place // len(wrong)), int(place % len(wrong))) for place in order]
        return tuple(
            ConfusedPair(
                class_name=self.class_names[row],
                taken_for=self.class_names[column],
                num_images=int(wrong[row, column]),
            )
            for row, column in places
            if wrong[row, column]
        )


def confusion_matrix(labels: Counts, predicted: Counts, class_names: Sequence[str]) -> ConfusionMatrix:
    """Count images by label and prediction, both (N,)."""
    classes = len(class_names)
    counts = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    return ConfusionMatrix(class_names=tuple(class_names), counts=counts)


def _percent(part: int, whole: int) -> float | None:
    return None if whole == 0 else float(100 * part / whole)

"""Classify pictures with any model of this toolkit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofa_toolkit.core.csv_table import csv_table
from ofa_toolkit.core.errors import ConfigError, ExportError
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.datasets.picture import PictureError, network_input
from ofa_toolkit.pipelines.prediction.classifier import (
    Classifier,
    Floats,
    open_classifier,
    probabilities,
)
from ofa_toolkit.pipelines.prediction.pictures import find_pictures
from ofa_toolkit.spaces.subnet_file import SubnetLike
from ofa_toolkit.zoo.supernet import SupernetLike

MOST_SHOWN = 3
"""Classes of a picture where the user does not say how many."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A class, and the network's probability for it, 0 to 1."""

    class_name: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network sees on a picture.

    Attributes:
        picture: The file.
        guesses: The most probable classes, the most probable first; empty where it cannot be read.
        problem: Why it cannot be read; None for one that can.
    """

    picture: Path
    guesses: tuple[Guess, ...] = ()
    problem: str | None = None


def predict(
    model: SupernetLike | Classifier,
    pictures: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    subnet: SubnetLike | None = None,
    data: str | None = None,
    top: int | None = None,
    batch_size: int = 32,
    reporter: Reporter = SILENT,
) -> list[Prediction]:
    """Classify pictures. One that cannot be read gets a `problem`; the others are classified all the same.

    Args:
        model: An ONNX file that `ofa-tk export` wrote, a bundle, a run, a supernet folder, or a zoo name.
        pictures: A file, folder or pattern, or several.
        subnet: Subnet of a supernet; a run's fine-tuned one, or else the largest trained one, where None.
        data: Training images for the batch-norm statistics of a subnet, where the supernet carries none.
        top: Classes a picture; three, or as many as there are, where None.
        batch_size: Pictures at a time.
        reporter: Hears how far it is.

    Raises:
        OfaToolkitError: The model or a file is missing, or the model has fewer classes than `top`.
    """
    named = [pictures] if isinstance(pictures, (str, os.PathLike)) else pictures
    paths, _ = find_pictures(named)
    opened = model if isinstance(model, Classifier) else open_classifier(model, subnet=subnet, data=data)
    shown = num_shown(opened, top)
    found: list[Prediction] = []
    for start in range(0, len(paths), batch_size):
        found += _predict_batch(opened, paths[start : start + batch_size], shown)
        reporter.progress(Progress("Classifying pictures", len(found), len(paths)))
    return found


def num_shown(classifier: Classifier, top: int | None) -> int:
    """How many classes of a picture are told.

    Raises:
        ConfigError: There are fewer.
    """
    classes = len(classifier.class_names)
    if top is not None and top > classes:
        raise ConfigError(
            f"--top '{top}': '{classifier.name}' has {classes} classes.", hint=f"--top {classes}"
        )
    return top or min(MOST_SHOWN, classes)


def _predict_batch(classifier: Classifier, paths: Sequence[Path], top: int) -> list[Prediction]:
    images, problems = {}, {}
    for path in paths:
        try:
            images[path] = network_input(path, classifier.preprocessing)
        except (PictureError, OSError, ValueError) as error:
            problems[path] = str(error)
    guesses = {}
    if images:
        logits = classifier.logits(np.stack(list(images.values())))
        for path, row in zip(images, logits, strict=True):
            if not np.isfinite(row).all():
                raise ExportError(
                    f"'{classifier.name}' gives numbers that are not finite for '{path}'.",
                    hint="Its weights are damaged, or too large for their type: export it again.",
                )
        shares = probabilities(logits)
        guesses = {
            path: _guesses(classifier.class_names, row, top) for path, row in zip(images, shares, strict=True)
        }
    return [
        Prediction(picture=path, guesses=guesses.get(path, ()), problem=problems.get(path)) for path in paths
    ]


def _guesses(names: Sequence[str], shares: Floats, top: int) -> tuple[Guess, ...]:
    best = np.argsort(-shares, kind="stable")[:top]
    return tuple(Guess(class_name=names[index], probability=float(shares[index])) for index in best)


def csv_text(predictions: Iterable[Prediction]) -> str:
    """One row for each picture and class; a picture that cannot be read has one row with its problem."""
    rows: list[tuple[object, ...]] = []
    for item in predictions:
        for rank, guess in enumerate(item.guesses, start=1):
            rows.append((item.picture, rank, guess.class_name, f"{guess.probability:.6f}", ""))
        if item.problem is not None:
            rows.append((item.picture, "", "", "", item.problem))
    return csv_table(["picture", "rank", "class", "probability", "problem"], rows)

"""One network class by class: recall, precision, confusions, and the pictures it is most wrong about."""

from __future__ import annotations

import base64
import heapq
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ofa_toolkit.core import files
from ofa_toolkit.core.csv_table import csv_table
from ofa_toolkit.core.figures import new_figure, png
from ofa_toolkit.datasets import ImageDataset, Split
from ofa_toolkit.evaluation.confusion import ConfusionMatrix, confusion_matrix
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator
from ofa_toolkit.spaces import Subnet
from ofa_toolkit.supernets import extract, fold_batchnorm_in_place, recalibrate_batchnorm

MOST_PICTURES = 24
"""Pictures on the page at most: those that the network is most wrong about."""

_LONGEST_NAME = 18
"""Letters of a class on the figure."""

_LONGEST_ROW = 40
"""Letters of class names below the figure that fit side by side."""

_MOST_NUMBERED = 25
"""Classes up to which the figure has a number in every cell."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A picture that the network is wrong about.

    Attributes:
        picture: File or row of the picture.
        class_name: Class that the picture belongs to.
        taken_for: Class that the network takes it for.
        probability: Probability of the class it is taken for, 0 to 1.
        true_probability: Probability of the class it belongs to, 0 to 1.
        thumbnail: The picture as the network saw it, as a `data:` address of a JPEG.
    """

    picture: str
    class_name: str
    taken_for: str
    probability: float
    true_probability: float
    thumbnail: str


@dataclass(frozen=True, kw_only=True)
class PerClass:
    """What `judge_classes` found.

    Attributes:
        supernet: As the user named it.
        data: The data set, as the user named it.
        split: Part of the data set that was judged.
        subnet: The judged subnet, in words.
        matrix: Counts.
        mistakes: The pictures with the least probability of what they are among the wrong ones.
    """

    supernet: str
    data: str
    split: Split
    subnet: str
    matrix: ConfusionMatrix
    mistakes: tuple[Mistake, ...]

    def document(self) -> dict[str, Any]:
        """As plain values, without the thumbnails."""
        matrix = self.matrix
        return {
            "supernet": self.supernet,
            "data": self.data,
            "split": self.split,
            "subnet": self.subnet,
            "top1_percent": matrix.top1_percent,
            "num_images": int(matrix.counts.sum()),
            "classes": matrix.classes(),
            "confusion": {"rows": "class", "columns": "taken for", "counts": matrix.counts.tolist()},
            "most_confused": matrix.most_confused(20),
            "mistakes": [
                {name: value for name, value in vars(mistake).items() if name != "thumbnail"}
                for mistake in self.mistakes
            ],
        }


@torch.no_grad()
def judge_classes(evaluator: Evaluator, subnet: Subnet, name: str) -> PerClass:
    """Judge a subnet class by class, with batch-norm statistics of its own.

    A network with more classes than the images may only name theirs.

    Args:
        evaluator: The supernet and the images.
        subnet: A member of its space.
        name: The subnet, in words.

    Raises:
        SubnetNotInSpaceError: The subnet is not in the space.
    """
    request, dataset = evaluator.request, evaluator.dataset
    network = extract(evaluator.supernet.network, subnet).to(evaluator.device)
    if evaluator.recalibration_images:
        recalibrate_batchnorm(network, evaluator.training_batches(subnet.resolution))
    fold_batchnorm_in_place(network)
    network.eval()
    rows = dataset.rows(request.split, limit=request.images)
    worst = _Worst(dataset, request.split)
    labels, predicted = [], []
    done = 0
    for images, truth in evaluator.judged_batches(request.split, subnet.resolution):
        logits = network(images).float()
        classes = truth
        if dataset.own_outputs is not None:
            own = torch.tensor(dataset.own_outputs, device=logits.device)
            logits, classes = logits[:, own], (truth[:, None] == own).int().argmax(1)
        labels.append(classes.cpu().numpy())
        predicted.append(logits.argmax(1).cpu().numpy())
        worst.see(images, classes, logits, rows[done : done + len(images)])
        done += len(images)
    return PerClass(
        supernet=evaluator.supernet.name,
        data=dataset.source,
        split=request.split,
        subnet=name if dataset.own_outputs is None else f"{name}, among the classes of the images",
        matrix=confusion_matrix(np.concatenate(labels), np.concatenate(predicted), dataset.class_names),
        mistakes=worst.mistakes(),
    )


class _Worst:
    """Keeps the pictures with the largest loss among those that are wrong."""

    def __init__(self, dataset: ImageDataset, split: Split) -> None:
        self._dataset = dataset
        self._split = split
        self._kept: list[tuple[float, int, Mistake]] = []

    def see(self, images: Tensor, labels: Tensor, logits: Tensor, rows: Any) -> None:
        """Take in images (N, 3, R, R), labels (N,), logits (N, classes), and their rows of the split."""
        losses = functional.cross_entropy(logits, labels, reduction="none")
        shares, wrong = logits.softmax(1), logits.argmax(1) != labels
        names = self._dataset.class_names
        for place in torch.nonzero(wrong).flatten().tolist():
            loss, row = float(losses[place]), int(rows[place])
            if len(self._kept) >= MOST_PICTURES and loss <= self._kept[0][0]:
                continue
            label, taken = int(labels[place]), int(logits[place].argmax())
            mistake = Mistake(
                picture=self._dataset.picture_name(self._split, row),
                class_name=names[label],
                taken_for=names[taken],
                probability=float(shares[place, taken]),
                true_probability=float(shares[place, label]),
                thumbnail=self._thumbnail(images[place]),
            )
            heapq.heappush(self._kept, (loss, row, mistake))
            if len(self._kept) > MOST_PICTURES:
                heapq.heappop(self._kept)

    def mistakes(self) -> tuple[Mistake, ...]:
        """The worst first."""
        return tuple(mistake for _, _, mistake in sorted(self._kept, reverse=True))

    def _thumbnail(self, image: Tensor) -> str:
        preprocessing = self._dataset.preprocessing
        mean, std = (torch.tensor(preprocessing[key])[:, None, None] for key in ("mean", "std"))
        pixels = (255 * (image.cpu() * std + mean)).round().clamp(0, 255).to(torch.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=90)
        return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def write_table(result: PerClass, path: Path) -> None:
    """Write a CSV file: a row for each class, with its figures and its row of the confusion matrix."""
    names = [f"taken for {name}" for name in result.matrix.class_names]
    rows: list[list[str | int]] = []
    for figures, row in zip(result.matrix.classes(), result.matrix.counts.tolist(), strict=True):
        shares = [figures.recall_percent, figures.precision_percent]
        written = ["" if share is None else f"{share:.2f}" for share in shares]
        rows.append([figures.name, figures.num_images, *written, *row])
    header = ["class", "images", "recall_percent", "precision_percent", *names]
    files.write_text(path, csv_table(header, rows))


def draw_matrix(result: PerClass, path: Path) -> None:
    """Write the confusion matrix as a PNG: colours are shares of a row, numbers are images."""
    counts = result.matrix.counts
    classes = len(counts)
    names = [_short(name) for name in result.matrix.class_names]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(3.5 + 0.45 * classes, 16)
    figure, (axes,) = new_figure(side + 1, side)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = max(2.0, min(9.0, 260 / classes))
    is_flat = max(map(len, names)) * classes < _LONGEST_ROW
    turned: dict[str, Any] = {} if is_flat else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(classes), names, fontsize=size, **turned)
    axes.set_yticks(range(classes), names, fontsize=size)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    axes.set_title(
        f"{result.matrix.top1_percent:.2f} % of {counts.sum()} {result.split} images right", fontsize=10
    )
    if classes <= _MOST_NUMBERED:
        for row, column in np.ndindex(counts.shape):
            if counts[row, column]:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(
                    column,
                    row,
                    str(counts[row, column]),
                    ha="center",
                    va="center",
                    color=color,
                    fontsize=size,
                )
    figure.colorbar(image, label="share of the class's images", shrink=0.8)
    files.write_bytes(path, png(figure))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"

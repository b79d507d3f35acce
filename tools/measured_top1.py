"""Reads the public accuracy measurements that the bundled predictors are fitted to (see their cards)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.spaces import Encoding, SearchSpace, Subnet
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.official_architectures import from_official

MEASURED = "ofa_mbv3_w1.0_measured_top1_dynast.csv"
PUBLISHED_PREDICTOR = "ofa_acc_predictor_mbv3.npz"
SPECIALIZED = "ofa_specialized_nets.csv"

PREDICTOR_RESOLUTIONS = (160, 176, 192, 208, 224)
"""Sizes at which OFA's predictor was trained; its inputs for other sizes hold what looks like noise."""


@dataclass(frozen=True)
class MeasuredTop1:
    """Measured subnets: one row each, at 224 pixels.

    Attributes:
        population: Encoded subnets `(N, genes)`.
        top1: Percent, `(N,)`.
        search: Which of the source's searches found each, `(N,)`.
    """

    population: Population
    top1: npt.NDArray[np.float64]
    search: npt.NDArray[Any]


def read_measured_top1(raw_folder: Path, space: SearchSpace) -> MeasuredTop1:
    """The 1,489 subnets of OFA MobileNetV3 w1.0 that DyNAS-T measured."""
    with (raw_folder / MEASURED).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    subnets = [_subnet(space, row) for row in rows]
    return MeasuredTop1(
        population=Encoding(space).encode(subnets),
        top1=np.array([float(row["top1_imagenet"]) for row in rows]),
        search=np.array([row["source_file"] for row in rows]),
    )


@dataclass(frozen=True)
class Specialized:
    """A network OFA published after fine-tuning."""

    name: str
    width: str
    subnet: Subnet
    top1: float
    finetune_epochs: int


def read_specialized(raw_folder: Path, space: SearchSpace, width: str) -> list[Specialized]:
    """Published MobileNetV3 networks of one width whose resolution the space offers."""
    with (raw_folder / SPECIALIZED).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["space"] == "ofa_mbv3"]
    return [
        Specialized(
            row["net_id"], width, _subnet(space, row), float(row["top1"]), int(row["finetune_epochs"])
        )
        for row in rows
        if row["width_mult"] == width and int(row["resolution"]) in space.resolutions
    ]


class PublishedPredictor:
    """OFA's published accuracy predictor for MobileNetV3, a perceptron 128-400-400-400-1.

    Inputs: for each of 20 blocks the kernel size, then for each the expand ratio, all one-hot and zero for
    a skipped block, then the resolution. Its figures are not on the scale of measured accuracies.
    """

    def __init__(self, raw_folder: Path) -> None:
        with np.load(raw_folder / PUBLISHED_PREDICTOR) as arrays:
            self.layers = [(arrays[f"W{i}"].T.copy(), arrays[f"b{i}"].copy()) for i in range(4)]

    def first_layer(self, choices: list[tuple[Any, ...]]) -> npt.NDArray[np.float32]:
        """What each choice adds in the first layer, `(choices, 400)`; see `Choices`."""
        weight = self.layers[0][0]
        result = np.zeros((len(choices), weight.shape[1]), dtype=np.float32)
        for row, choice in enumerate(choices):
            if choice[0] == "resolution":
                result[row] = weight[120 + (int(choice[1]) - 112) // 16]
            elif choice[0] == "block":
                block = 4 * int(choice[1]) + int(choice[2])
                result[row] = weight[3 * block + (3, 5, 7).index(choice[3])]
                result[row] += weight[60 + 3 * block + (3, 4, 6).index(choice[4])]
        return result

    def __call__(
        self, one_hot: npt.NDArray[np.float32], choices: list[tuple[Any, ...]]
    ) -> npt.NDArray[np.float64]:
        """Its figures in percent for `Choices.one_hot` rows, `(N,)`."""
        hidden = one_hot @ self.first_layer(choices) + self.layers[0][1]
        for weight, bias in self.layers[1:]:
            hidden = np.maximum(hidden, 0) @ weight + bias
        return 100 * hidden[:, 0].astype(np.float64)


def _subnet(space: SearchSpace, row: dict[str, str]) -> Subnet:
    def numbers(name: str) -> list[int]:
        return [int(text) for text in row[name].split("-")]

    architecture = {"ks": numbers("ks"), "e": numbers("e"), "d": numbers("d"), "r": int(row["resolution"])}
    return from_official(space, architecture)

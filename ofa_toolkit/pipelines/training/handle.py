"""Train by a recipe from Python, and what a finished run holds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.pipelines.training.recipes import load_recipe
from ofa_toolkit.pipelines.training.run import TrainResult
from ofa_toolkit.pipelines.training.run import train as run_training
from ofa_toolkit.training.cost import PhaseCost
from ofa_toolkit.training.metrics import METRICS_FILE, read_metrics
from ofa_toolkit.zoo.supernet import LoadedSupernet, load_supernet


@dataclass(frozen=True)
class TrainRequest:
    """What to train, on which images, and where the run goes."""

    recipe: str
    "A named recipe or a TOML file."
    _: KW_ONLY
    data: str
    "Images, such as imagefolder:DIR, npz:FILE, cifar10:DIR."
    out: str | os.PathLike[str]
    "The run folder, new or empty."
    epochs: int | None = None
    "Scale the whole run to this many epochs."
    init: str | None = None
    "Start from these weights: a zoo name, run or supernet folder."
    seed: int | None = None
    "Start of all random streams."
    settings: Sequence[str] = ()
    "Settings of the recipe to change, such as training.batch_size=64."
    device: str | None = None
    "Processor: cpu, cuda or cuda:N. Default: a GPU where there is one."
    threads: int | None = None
    "CPU threads. Default: torch's own."


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A finished run.

    Attributes:
        result: Folder, accuracies and costs.
    """

    result: TrainResult

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.result.folder

    @property
    def cost(self) -> PhaseCost:
        """Updates, seconds and device-hours of the whole run."""
        return self.result.total_cost

    @cached_property
    def supernet(self) -> LoadedSupernet:
        """The trained supernet."""
        return load_supernet(self.result.supernet)

    @cached_property
    def history(self) -> Mapping[str, npt.NDArray[np.float64]]:
        """Figures by epoch, `(epochs,)` each: NaN where an epoch has none."""
        lines: list[dict[str, Any]] = [
            line for line in read_metrics(self.folder / METRICS_FILE) if line["kind"] == "epoch"
        ]
        names = dict.fromkeys(
            name for line in lines for name, value in line.items() if isinstance(value, int | float)
        )
        return {
            name: np.array([np.nan if line.get(name) is None else line[name] for line in lines], dtype=float)
            for name in names
        }


@with_fields_of(TrainRequest)
def train(request: TrainRequest) -> TrainingRun:
    """Train a supernet by a recipe.

    Raises:
        OfaToolkitError: Bad data, recipe or folder; diverged training; a full disk.
    """
    config = load_recipe(
        request.recipe,
        overrides=request.settings,
        source=request.data,
        epochs=request.epochs,
        seed=request.seed,
        init=request.init,
    )
    result = run_training(config, Path(request.out), device=request.device, threads=request.threads)
    return TrainingRun(result=result)

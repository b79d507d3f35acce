"""Train by a recipe from Python, and what a finished run holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.pipelines.training.recipes import requested_recipe
from ofa_toolkit.pipelines.training.request import TrainRequest
from ofa_toolkit.pipelines.training.run import TrainResult
from ofa_toolkit.pipelines.training.run import train as run_training
from ofa_toolkit.training.cost import PhaseCost
from ofa_toolkit.training.metrics import METRICS_FILE, read_metrics
from ofa_toolkit.zoo.supernet import LoadedSupernet, load_supernet


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
    if request.out is None:
        raise ConfigError("The run needs a folder.", hint='train("...", out="runs/NAME")')
    result = run_training(
        requested_recipe(request),
        Path(request.out),
        device=request.device,
        threads=request.threads,
        download=request.download,
        price_per_hour=request.price_per_hour,
    )
    return TrainingRun(result=result)

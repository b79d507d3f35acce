"""Training runs of seconds: 8-pixel fake images, a few updates of the compact space."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ofa_toolkit.pipelines.training.run import TrainResult, train
from ofa_toolkit.training.config import RunConfig, from_values
from ofa_toolkit.training.reporting import Progress

IMAGES = "fake:classes=4,size=8,train=40,test=12"


def small_config(algorithm: dict[str, Any], **tables: dict[str, Any]) -> RunConfig:
    """32 training images in 4 updates an epoch."""
    values: dict[str, Any] = {
        "space": {
            "name": "mobilenet-v3-compact",
            "resolutions": [8],
            "depths": [1, 2],
            "expand_ratios": [3.0, 6.0],
        },
        "data": {"source": IMAGES, "validation_size": 8},
        "algorithm": algorithm,
        "training": {"epochs": 4, "batch_size": 8, "label_smoothing": 0.0},
        "schedule": {"learning_rate": 0.05},
        "validation": {"every_epochs": 100, "recalibration_images": 16},
        "tensorboard": False,
    }
    for name, table in tables.items():
        values[name] = {**values.get(name, {}), **table} if isinstance(table, dict) else table
    return from_values(values)


class Recorder:
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.messages: list[str] = []

    def progress(self, progress: Progress) -> None:
        self.losses.append(progress.loss)

    def message(self, text: str) -> None:
        self.messages.append(text)


def run(config: RunConfig, out: Path, **options: Any) -> tuple[TrainResult, Recorder]:
    recorder = Recorder()
    return train(config, out, device="cpu", threads=1, reporter=recorder, **options), recorder


def weights(result: TrainResult | Path) -> dict[str, torch.Tensor]:
    folder = result if isinstance(result, Path) else result.supernet
    return safetensors.torch.load_file(folder / "model.safetensors")


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    """Names of tensors that are not the same bit for bit."""
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


class PipeReporter:
    """Sends the number of each update to another process, which may kill this one for it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def progress(self, progress: Progress) -> None:
        self.connection.send(progress.step)

    def message(self, text: str) -> None:
        pass


def train_in_child(values: dict[str, Any], out: str, resume: bool, connection: Any) -> None:
    """Entry point of a child process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    config = from_values(values)
    train(config, Path(out), resume=resume, device="cpu", threads=1, reporter=PipeReporter(connection))
    connection.send("done")


def preload() -> Sequence[str]:
    """What a fork server imports once, so that children start at once."""
    return ("torch", "ofa_toolkit.pipelines.training.run", "tests.integration.small_runs")

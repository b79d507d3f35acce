"""Training runs of seconds: 8-pixel fake images, a few updates of the compact space."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ofa_toolkit.core.errors import OfaToolkitError
from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.pipelines.training.run import TrainResult, train
from ofa_toolkit.spaces import SearchSpace
from ofa_toolkit.spaces.mobilenet_v3_family import mobilenet_v3
from ofa_toolkit.spaces.space_file import space_document
from ofa_toolkit.training.config import RunConfig, from_values
from ofa_toolkit.training.reporting import TrainingProgress
from ofa_toolkit.training.run_folder import Resume
from tests.heard import Heard

IMAGES = "fake:classes=4,size=8,train=40,test=12"


def _tiny_space() -> SearchSpace:
    space = mobilenet_v3(
        "tiny",
        source="made for tests",
        width_multiplier=0.125,
        stem_stride=1,
        strides=(2, 2, 1, 2, 1),
        widths=(32,) * 5,
        depths=(1, 2, 3),
        kernel_sizes=(3, 5),
        resolutions=(8,),
        num_classes=4,
    )
    return dataclasses.replace(space, stages=space.stages[:2])


TINY_SPACE = {"name": "tiny", "table": space_document(_tiny_space()), "resolutions": []}
"""Two stages, 39,300 parameters: what makes a run is more work than its network."""


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


class Recorder(Heard):
    """A reporter that keeps the losses of a run and what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def progress(self, progress: Progress) -> None:
        super().progress(progress)
        if isinstance(progress, TrainingProgress):
            self.losses.append(progress.loss)


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
        self.connection.send(progress.done)

    def message(self, text: str) -> None:
        pass


def train_in_child(
    values: dict[str, Any], out: str, resume: Resume, connection: Any, dies_at: int | None = None
) -> None:
    """Entry point of a child process.

    Args:
        values: The configuration.
        out: The run folder.
        resume: As of `train`.
        connection: Hears the number of each update, the error of a run that fails, and "done".
        dies_at: Kill this process in or before so many-th writing to the file system, counted from 0.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    if dies_at is not None:
        _die_at_write(dies_at)
    config = from_values(values)
    reporter = PipeReporter(connection)
    try:
        train(config, Path(out), resume=resume, device="cpu", threads=1, reporter=reporter)
    except OfaToolkitError as error:
        connection.send(error.message)
        raise
    connection.send("done")


def _die_at_write(number: int) -> None:
    """Count what changes files: written halfway, not yet flushed, not yet renamed, not yet removed."""
    count = itertools.count()

    def watched(function: Any, writes_to: int | None) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(count) < number:
                return function(*arguments, **options)
            if writes_to is not None:
                function(*arguments, **options)
                os.truncate(arguments[writes_to], os.path.getsize(arguments[writes_to]) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("unreachable")

        return call

    for module, name, writes_to in (
        (torch, "save", 1),
        (shutil, "copyfile", 1),
        (os, "fsync", None),
        (os, "replace", None),
        (os, "unlink", None),
    ):
        setattr(module, name, watched(getattr(module, name), writes_to))


def preload() -> Sequence[str]:
    """What a fork server imports once, so that children start at once."""
    return ("torch", "ofa_toolkit.pipelines.training.run", "tests.integration.small_runs")

"""What a user asks a measurement of accuracy for: parameters in Python, options of several commands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.requests import Option
from ofa_toolkit.zoo.supernet import SupernetLike


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """Images, and how they are used."""

    data: Annotated[str, Option(metavar="SOURCE")]
    "Images, such as imagefolder:DIR, npz:FILE, cifar10:DIR."
    split: Annotated[Literal["test", "validation", "train"], Option()] = "test"
    "Which images."
    images: Annotated[int | None, Bounds(at_least=1), Option()] = None
    "Measure on this many images of the split, chosen by seed; all by default."
    recalibration_images: Annotated[int | None, Bounds(at_least=0), Option()] = None
    """Training images for a subnet's batch-norm statistics; 0 keeps the stored ones. Default: 2000, or 0 for
    a single network."""
    batch_size: Annotated[int, Bounds(at_least=1), Option()] = 200
    "Images of a forward pass."
    device: Annotated[str | None, Option(metavar="NAME")] = None
    "Processor: cpu, cuda or cuda:N. Default: a GPU where there is one."
    threads: Annotated[int | None, Bounds(at_least=1), Option()] = None
    "CPU threads of torch. Default: all cores."
    download: Annotated[bool, Option()] = False
    "Fetch the data set where torchvision can."
    validation_size: Annotated[int | None, Bounds(at_least=1), Option()] = None
    "Images held out of train. Default: as in the supernet's training."
    test_size: Annotated[int | None, Bounds(at_least=1), Option()] = None
    "Images set aside for the test, of folders without a test set. Default: as in the supernet's training."
    num_workers: Annotated[int, Bounds(at_least=0), Option()] = 0
    "Processes that load photos."


@dataclass(frozen=True, kw_only=True)
class ParetoRequest(EvaluationRequest):
    """Supernets to compare by the most accurate subnet of each part of their range of cost."""

    supernet: Annotated[Sequence[SupernetLike], Option(metavar="NAME|DIR", is_repeatable=True)]
    "Supernets of one space: zoo names, runs or supernet folders."
    buckets: Annotated[int, Bounds(at_least=1), Option()] = 6
    "Number of equal parts that the range of cost is divided into."
    per_bucket: Annotated[int, Bounds(at_least=1), Option()] = 4
    "Subnets measured in each part, the smallest and the largest always among them."
    latency_on: Annotated[str | None, Option(metavar="DEVICE")] = None
    "Cost is this device's predicted latency. Default: multiply-accumulates."
    tables: Annotated[
        Sequence[str | os.PathLike[str]], Option(metavar="DIR", path="input folder", is_repeatable=True)
    ] = ()
    "Further folders of latency tables."
    seed: Annotated[int, Bounds(at_least=0), Option()] = 0
    "Seed of the candidates."

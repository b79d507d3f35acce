"""Say what a training run would cost, from a timed handful of updates of each phase, before spending it."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets import Batch
from ofa_toolkit.pipelines.training.run import prepare
from ofa_toolkit.training.algorithm import Phase, Position
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.cost import PhaseCost, macs_of_passes, macs_per_image, phase_cost, total
from ofa_toolkit.training.distributed import Process, join, leave
from ofa_toolkit.training.trainer import Trainer

_WARMUP_UPDATES = 1
_LEAST_CPU_IMAGES, _CPU_IMAGES, _CPU_PIXELS = 8, 64, 64 * 96**2


@dataclass(frozen=True, kw_only=True)
class CostPrediction:
    """Predicted cost of a run.

    Attributes:
        images: The data set and the sizes of its splits.
        steps_per_epoch: Updates.
        timed: The timed updates and the device, in words.
        costs: Per phase; validation is not included.
        total_cost: Cost of all phases.
    """

    images: str
    steps_per_epoch: int
    timed: str
    costs: tuple[PhaseCost, ...]
    total_cost: PhaseCost


def dry_run(
    config: RunConfig,
    *,
    device: str | None = None,
    threads: int | None = None,
    download: bool = False,
    price_per_hour: float | None = None,
    num_updates: int = 3,
) -> CostPrediction:
    """Prepare a run as `train` would, time updates of each phase, and predict the whole. Nothing is written.

    The median update of each phase is scaled to the phase's average step by its MACs, since random
    subnets differ in size.

    Raises:
        OfaToolkitError: Whatever would stop the run at its start.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    process = join(device)
    try:
        return predict_cost(
            config, process, download=download, price_per_hour=price_per_hour, num_updates=num_updates
        )
    finally:
        leave(process)


def predict_cost(
    config: RunConfig,
    process: Process,
    *,
    download: bool = False,
    price_per_hour: float | None = None,
    num_updates: int = 3,
) -> CostPrediction:
    """As `dry_run`, in a process that has joined."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = prepare(config, Path(folder), process=process, download=download, is_trial=True)
        return _predict(trainer, process, price_per_hour, num_updates)


def _predict(
    trainer: Trainer, process: Process, price_per_hour: float | None, num_updates: int
) -> CostPrediction:
    costs = []
    for phase in trainer.algorithm.phases:
        seconds = _seconds_per_mac(trainer, phase, num_updates) * macs_per_image(
            trainer.algorithm, phase, trainer.steps_per_epoch
        )
        costs.append(
            phase_cost(
                phase.name,
                phase.epochs * trainer.steps_per_epoch,
                seconds,
                num_devices=process.world_size,
                price_per_hour=price_per_hour,
            )
        )
    dataset = trainer.dataset
    sizes = ", ".join(f"{dataset.num_images(split)} {split}" for split in ("train", "validation", "test"))
    if dataset.unlabelled is not None:
        sizes += f", {dataset.unlabelled.num_images} unlabelled"
    device = str(process.device)
    if process.device.type == "cpu":
        device += f" with {counted(torch.get_num_threads(), 'thread')}"
    return CostPrediction(
        images=f"{dataset.name} ({sizes})",
        steps_per_epoch=trainer.steps_per_epoch,
        timed=f"{counted(num_updates, 'update')} of each phase with "
        f"{counted(_timed_batch(trainer)[0], 'image')} on {device}; "
        "validation is not included",
        costs=tuple(costs),
        total_cost=total(costs),
    )


def _timed_batch(trainer: Trainer) -> tuple[int, float]:
    """Images of a timed update, and how many times as many a real one has.

    A CPU takes a part of a batch made for many GPUs: time there is proportional to images, memory is not
    there for all of them.
    """
    batch = trainer.config.training.batch_size
    part = trainer.process.world_size * trainer.config.training.accumulation
    most = max(_LEAST_CPU_IMAGES, min(_CPU_IMAGES, _CPU_PIXELS // trainer.dataset.resolution**2))
    if trainer.process.device.type != "cpu" or batch <= most:
        return batch, 1.0
    timed = max(part, most // part * part)
    return timed, batch / timed


def _endless_batches(trainer: Trainer, phase: Phase, batch_size: int) -> Iterator[Batch]:
    """Epoch after epoch, for data sets of a batch or two."""
    process = trainer.process
    for epoch in itertools.count():
        yield from trainer.dataset.epoch(
            epoch,
            batch_size,
            seed=0,
            rank=process.rank,
            world_size=process.world_size,
            device=process.device,
            with_unlabelled=trainer.learner.uses_unlabelled(phase),
        )


def _seconds_per_mac(trainer: Trainer, phase: Phase, num_updates: int) -> float:
    """Median time of an update over its forward MACs per image."""
    trainer.learner.take_teacher(phase)
    timed_batch, scale = _timed_batch(trainer)
    batches = _endless_batches(trainer, phase, timed_batch)
    ratios = []
    mark = time.perf_counter()
    for number in range(_WARMUP_UPDATES + num_updates):
        batch = next(batches)
        position = Position(
            epoch=phase.first_epoch,
            step=number,
            steps_per_epoch=trainer.steps_per_epoch,
            resolution=batch[0].shape[-1],
        )
        passes = trainer.algorithm.plan(phase, position, generator(0, "dry run", phase.name, number))
        trainer.learner.update(passes, batch, rate=0.0, seed=number)
        now = time.perf_counter()
        if number >= _WARMUP_UPDATES:
            ratios.append(scale * (now - mark) / macs_of_passes(phase.space, passes))
        mark = now
    return statistics.median(ratios)

"""Whether DϵpS costs what its proportions say.

    OMP_NUM_THREADS=1 python benchmarks/deps_cost.py [--epochs 4] [--updates 16] [--batch 64] [--space NAME]

A whole run by the trainer, with images, sampling, sorting, optimizer, metrics and checkpoints but without
validation, against (updates of the warm-up x full step + the others x sandwich step). The two kinds of step
are timed apart, on another supernet and by turns, half before the run and half after it. All in processor
seconds, which other processes distort little. Aim: within 10 %.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from ofa_toolkit.core.rng import generator
from ofa_toolkit.evaluation.accuracy import Accuracy
from ofa_toolkit.pipelines.training.run import prepare
from ofa_toolkit.training.algorithm import Phase, Position
from ofa_toolkit.training.config import RunConfig, from_values
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.trainer import Trainer

HELD_OUT = 100


def configuration(space: str, epochs: int, updates: int, batch: int) -> RunConfig:
    """DϵpS on random images, half of the epochs warm-up."""
    images = updates * batch + HELD_OUT
    return from_values(
        {
            "space": {"name": space},
            "data": {"source": f"fake:train={images},test=100", "validation_size": HELD_OUT},
            "algorithm": {"name": "deps", "warmup_share": 0.5},
            "training": {"epochs": epochs, "batch_size": batch, "dropout": 0.0},
            "schedule": {"learning_rate": 0.01},
            "validation": {"every_epochs": epochs, "recalibration_images": HELD_OUT},
            "tensorboard": False,
        }
    )


def step_seconds(trainer: Trainer, phase: Phase, number: int) -> float:
    """One update of a phase on a random batch that is there already."""
    size, batch = phase.space.resolutions[-1], trainer.config.training.batch_size
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(trainer.dataset.num_classes, (batch,))
    position = Position(epoch=phase.first_epoch, step=number, steps_per_epoch=1, resolution=size)
    start = time.process_time()
    passes = trainer.algorithm.plan(phase, position, generator(1, phase.name, number))
    trainer.learner.update(passes, (images, labels), rate=0.01, seed=number)
    return time.process_time() - start


class Steps:
    """Times of single updates, the phases taking turns."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self.trainer = prepare(config, folder, process=Process(), is_trial=True)
        self.phases = self.trainer.algorithm.phases
        self.seconds: dict[str, list[float]] = {phase.name: [] for phase in self.phases}
        for phase in self.phases:
            step_seconds(self.trainer, phase, 0)  # the first is for warming up

    def take(self, count: int) -> None:
        """Time more updates of each phase."""
        for _ in range(count):
            for phase in self.phases:
                times = self.seconds[phase.name]
                times.append(step_seconds(self.trainer, phase, len(times)))


def run_seconds(config: RunConfig, folder: Path) -> float:
    """A whole run without its validations."""
    trainer = prepare(config, folder, process=Process())
    validate, judging = trainer.validate, 0.0

    def timed(phase: Phase) -> dict[str, Accuracy]:
        nonlocal judging
        start = time.process_time()
        result = validate(phase)
        judging += time.process_time() - start
        return result

    trainer.validate = timed  # type: ignore[method-assign]
    start = time.process_time()
    trainer.run()
    return time.process_time() - start - judging


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="mobilenet-v3-compact")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--updates", type=int, default=16, help="an epoch")
    parser.add_argument("--batch", type=int, default=64)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    config = configuration(chosen.space, chosen.epochs, chosen.updates, chosen.batch)
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(config, Path(folder))
        # The cost of a sandwich step depends on its random subnets: as many are drawn as the run draws.
        half = chosen.epochs * chosen.updates // 4
        steps.take(half)
        whole = run_seconds(config, Path(folder) / "run")
        steps.take(half)
    predicted = 0.0
    for phase in steps.phases:
        updates, seconds = phase.epochs * chosen.updates, statistics.fmean(steps.seconds[phase.name])
        print(f"{phase.name:10s} {updates:4d} updates x {seconds:.3f} s")
        predicted += updates * seconds
    print(f"predicted  {predicted:.2f} s, run {whole:.2f} s: run / predicted = {whole / predicted:.3f}")


if __name__ == "__main__":
    main()

"""The training loop that every method shares.

A run is a function of its configuration, images and number of processes: it may be killed anywhere and
resumed, and ends with the same weights (bit for bit on a CPU with the same number of threads).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ofa_toolkit.core.errors import TrainingError
from ofa_toolkit.core.rng import generator, torch_seed
from ofa_toolkit.datasets.dataset import Batch, ImageDataset
from ofa_toolkit.datasets.report import class_counts
from ofa_toolkit.evaluation.accuracy import Accuracy
from ofa_toolkit.evaluation.sampling import accuracy_text
from ofa_toolkit.spaces import Subnet
from ofa_toolkit.supernets import Supernet, extract, sort_channels
from ofa_toolkit.supernets.batchnorm.recalibration import batch_norms
from ofa_toolkit.supernets.channel_sorting import apply_moves
from ofa_toolkit.training.algorithm import Algorithm, Phase, Position
from ofa_toolkit.training.checkpoint import CheckpointStore, read_checkpoint
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.cost import TimeLeft
from ofa_toolkit.training.distributed import Process, share_batch_norm
from ofa_toolkit.training.divergence import DivergenceWatch
from ofa_toolkit.training.losses import balanced_class_weights
from ofa_toolkit.training.metrics import MetricsLog
from ofa_toolkit.training.optimizer import MovingAverage, build_optimizer, set_learning_rate
from ofa_toolkit.training.reporting import Progress, Reporter, Silent
from ofa_toolkit.training.state import TrainState
from ofa_toolkit.training.step import StepResult, Updater
from ofa_toolkit.training.validation import validate

SLOW_DATA_SHARE = 0.25
"""Above this share of an epoch spent waiting for images, the reporter is told."""


class TrainingStoppedError(TrainingError):
    """The run was asked to stop; everything so far is in a checkpoint."""

    exit_code = 130


class Trainer:
    """Trains a supernet.

    Args:
        config: The run.
        algorithm: The method, bound to the space.
        supernet: Its weights at the start; changed in place.
        dataset: Images.
        folder: The run folder: metrics and checkpoints.
        process: Which of how many.
        reporter: Who hears of it.
        named: Further subnets to validate.
        judged: Validate this subnet alone (fine-tuning).
    """

    def __init__(
        self,
        config: RunConfig,
        algorithm: Algorithm,
        supernet: Supernet,
        dataset: ImageDataset,
        folder: Path,
        *,
        process: Process | None = None,
        reporter: Reporter | None = None,
        named: dict[str, Subnet] | None = None,
        judged: Subnet | None = None,
    ) -> None:
        self.config = config
        self.algorithm = algorithm
        self.dataset = dataset
        self.process = process or Process()
        self.reporter = reporter or Silent()
        self.folder = folder
        self.named = named or {}
        self.judged = judged
        if config.training.batch_size % (self.process.world_size * config.training.accumulation):
            raise TrainingError(
                f"A batch of {config.training.batch_size} cannot be shared equally by "
                f"{self.process.world_size} processes in {config.training.accumulation} parts each."
            )
        self.supernet = supernet.to(self.process.device)
        if config.training.channels_last:
            self.supernet.to(memory_format=torch.channels_last)
        if config.training.sync_batchnorm and self.process.world_size > 1:
            share_batch_norm(self.supernet)
        self.optimizer = build_optimizer(config.optimizer, self.supernet)
        self.updater = Updater(self.supernet, self.optimizer, config.training, self.process)
        if config.data.class_weights == "balanced":
            weights = balanced_class_weights(class_counts(dataset, ("train",)).tolist())
            self.updater.class_weights = weights.to(self.process.device)
        self.average = (
            MovingAverage(self.supernet, config.training.ema_decay) if config.training.ema_decay else None
        )
        self.watch = DivergenceWatch(dataset.num_classes, config.divergence.window)
        self.store = CheckpointStore(folder / "checkpoints", keep=config.checkpoints.keep)
        self.state = TrainState()
        self.steps_per_epoch = dataset.steps_per_epoch(config.training.batch_size)
        self.stop_requested = False
        self.on_epoch_end: Callable[[int], None] | None = None
        self._time_left = TimeLeft(algorithm, self.steps_per_epoch)
        self._log: MetricsLog | None = None
        self._last_checkpoint = time.monotonic()

    @property
    def num_steps(self) -> int:
        """Updates of the whole run."""
        return sum(phase.epochs for phase in self.algorithm.phases) * self.steps_per_epoch

    def run(self) -> TrainState:
        """Train to the end, from the present state.

        Raises:
            TrainingError: Training diverged again after its rollbacks.
            CheckpointError: A checkpoint cannot be written.
            TrainingStoppedError: `stop_requested` was set; everything so far is in a checkpoint.
        """
        if self.process.is_main:
            self._log = MetricsLog(
                self.folder, last_step=self.state.step, use_tensorboard=self.config.tensorboard
            )
        if self.state.step == 0:
            self.save_checkpoint()
        try:
            while (index := self._phase_index()) < len(self.algorithm.phases):
                self._run_epoch(index, self.algorithm.phases[index])
        finally:
            if self._log is not None:
                self._log.close()
        return self.state

    def _phase_index(self) -> int:
        """The phase of the next update; the number of phases when all is done."""
        ends = [phase.end_epoch for phase in self.algorithm.phases]
        return sum(self.state.epoch >= end for end in ends)

    def _run_epoch(self, index: int, phase: Phase) -> None:
        """Train to the end of the present epoch, or to a rollback."""
        if self.state.begun_phase < index:
            self._begin(index, phase)
        epoch, first_step = self.state.epoch, self.state.step_in_epoch
        started, waited = time.monotonic(), 0.0
        batches = self.dataset.epoch(
            epoch,
            self.config.training.batch_size,
            seed=self.config.training.seed,
            first_step=first_step,
            resolution_of=lambda step: self._resolution(phase, epoch, step),
            rank=self.process.rank,
            world_size=self.process.world_size,
            device=self.process.device,
        )
        mark = time.monotonic()
        for batch in batches:
            waited += time.monotonic() - mark
            result, label_weight = self._update(phase, batch)
            now = time.monotonic()
            self._count_time(phase, now - mark)
            mark = now
            problem = self.watch.check(result.losses, label_weight)
            if problem:
                self._roll_back(problem)
                return
            self._report(phase, result, len(batch[0]), now - started, first_step)
            self._maybe_save()
            mark += time.monotonic() - now
        self.state.epoch, self.state.step_in_epoch = epoch + 1, 0
        self._end_epoch(phase, epoch, waited / max(1e-9, time.monotonic() - started))

    def _resolution(self, phase: Phase, epoch: int, step: int) -> int:
        choices = phase.space.resolutions
        if len(choices) == 1:
            return choices[0]
        stream = generator(self.config.training.seed, "resolution", epoch, step)
        return int(stream.choice(choices))

    def _update(self, phase: Phase, batch: Batch) -> tuple[StepResult, float]:
        """One step of the algorithm at the present position, and the weight of its first pass's labels."""
        state, seed = self.state, self.config.training.seed
        images, labels = batch
        position = Position(
            epoch=state.epoch,
            step=state.step_in_epoch,
            steps_per_epoch=self.steps_per_epoch,
            resolution=images.shape[-1],
        )
        passes = self.algorithm.plan(phase, position, generator(seed, "subnets", state.step))
        rate = phase.learning_rate(state.epoch, state.step_in_epoch, self.steps_per_epoch)
        set_learning_rate(self.optimizer, rate * state.rate_factor)
        # Dropout is the only thing left that draws from torch's own stream.
        torch.manual_seed(torch_seed(seed, "step", state.step, self.process.rank))
        self.supernet.train()
        every = self.config.training.record_gradients_every
        self.updater.records_norms = every is not None and state.step % every == 0
        result = self.updater(images, labels, passes)
        if self.average is not None:
            self.average.update(self.supernet)
        state.step += 1
        state.step_in_epoch += 1
        if self._log is not None:
            values: dict[str, Any] = {
                "epoch": state.epoch,
                "learning_rate": rate * state.rate_factor,
                "epsilon": passes[-1].gradient_weight / passes[0].gradient_weight,
                "train_accuracy": 100 * result.num_correct / len(images),
            }
            for number, (item, loss) in enumerate(zip(passes, result.losses, strict=True)):
                values[f"loss_{number}_{item.role}"] = loss
            if result.total_norm is not None:
                values["phase"] = phase.name
                values |= {"gradient_norm": result.total_norm, "first_gradient_norm": result.first_norm}
            self._log.write("step", state.step, values)
        return result, passes[0].label_weight

    def _begin(self, index: int, phase: Phase) -> None:
        """What happens once when a phase begins."""
        self.watch.reset()
        if phase.teacher is not None:
            self.updater.teacher = self.frozen_copy(phase.teacher)
        if phase.resets_optimizer:
            self.optimizer.state.clear()
        if phase.sort_protected_widths is not None:
            moves = sort_channels(
                self.supernet, num_protected_widths=phase.sort_protected_widths, optimizer=self.optimizer
            )
            if self.average is not None:
                averaged = self.final_supernet()
                apply_moves(averaged, moves)
                self.average.values = averaged.state_dict()
            self.reporter.message(f"Phase '{phase.name}': channels sorted by importance.")
        self.state.begun_phase = index
        self.state.best = -1.0
        self._write("phase", {"phase": phase.name, "epoch": self.state.epoch})

    def frozen_copy(self, subnet: Subnet) -> torch.nn.Module:
        """A subnet as teacher: batch statistics, running ones left alone, no dropout."""
        teacher = extract(self.supernet, subnet).train()
        for _, norm in batch_norms(teacher):
            norm.momentum = 0.0
        teacher.requires_grad_(False)
        return teacher.to(self.process.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _end_epoch(self, phase: Phase, epoch: int, waited_share: float) -> None:
        values: dict[str, Any] = {"epoch": epoch, "phase": phase.name, "data_share": waited_share}
        if waited_share > SLOW_DATA_SHARE:
            more = max(1, 2 * self.config.data.num_workers)
            self.reporter.message(
                f"{self._epoch_name(epoch)}: {100 * waited_share:.0f} % of the time went into waiting for "
                f"images. More workers may help: --set data.num_workers={more}"
            )
        every = self.config.validation.every_epochs
        is_best = False
        if (epoch + 1) % every == 0 or epoch + 1 == phase.end_epoch:
            results = self.validate(phase)
            self.state.accuracies = {name: result.top1_percent for name, result in results.items()}
            mean = sum(self.state.accuracies.values()) / len(results)
            is_best = mean > self.state.best
            self.state.best = max(mean, self.state.best)
            self.state.validated_epoch = epoch
            values |= {f"top1_{name}": result.top1_percent for name, result in results.items()}
            values["num_validation_images"] = next(iter(results.values())).num_images
            shown = ", ".join(
                f"{name} {accuracy_text(result.top1_percent, result.num_images)}"
                for name, result in results.items()
            )
            self.reporter.message(f"{self._epoch_name(epoch)} ({phase.name}): validation top-1 % {shown}")
        self._write("epoch", values)
        if self.process.is_main and self.on_epoch_end is not None:
            self.on_epoch_end(epoch)
        self.save_checkpoint(is_best=is_best)

    def _epoch_name(self, epoch: int) -> str:
        """As people count, and as the progress bar does."""
        return f"epoch {epoch + 1}/{self.algorithm.phases[-1].end_epoch}"

    def validate(self, phase: Phase) -> dict[str, Accuracy]:
        """Judge the phase's subnets with the weights that would be saved now."""
        self.process.average_buffers(self.supernet)
        return validate(
            self.final_supernet(),
            self.dataset,
            phase,
            self.named,
            self.config.validation,
            self.process.device,
            self.judged,
        )

    def final_supernet(self) -> Supernet:
        """A copy with the weights a user gets: the moving average where there is one, else the present ones.

        It normalises by itself also where training shares batch statistics among processes.
        """
        copy = Supernet(
            self.supernet.space,
            use_kernel_transforms=self.supernet.use_kernel_transforms,
            dropout=self.supernet.dropout,
            bn_momentum=self.supernet.bn_momentum,
        ).to(self.process.device)
        copy.load_state_dict(self.average.values if self.average else self.supernet.state_dict())
        return copy

    def _roll_back(self, problem: str) -> None:
        """Go back to the last checkpoint with a lower rate, or give up."""
        state, config = self.state, self.config.divergence
        where = f"{self._epoch_name(state.epoch)}, update {state.step}"
        self._write("divergence", {"problem": problem, "epoch": state.epoch})
        if state.rollbacks >= config.rollbacks:
            raise TrainingError(
                f"Training diverged at {where}: {problem}. Rollbacks so far: {state.rollbacks}.",
                hint="Train with a lower rate, for example --set schedule.learning_rate="
                f"{self.config.schedule.learning_rate / 4:g}",
            )
        rollbacks, factor = state.rollbacks + 1, state.rate_factor * config.rate_factor
        path = self.restore_latest()
        self.state.rollbacks, self.state.rate_factor = rollbacks, factor
        self.reporter.message(
            f"Training diverged at {where}: {problem}. Back to '{path.name}' with the rate times {factor:g}."
        )
        # Saved at once: a run killed now must not forget that it has been here.
        self.save_checkpoint()

    def _report(
        self, phase: Phase, result: StepResult, num_images: int, seconds: float, first_step: int
    ) -> None:
        images = (self.state.step_in_epoch - first_step) * num_images * self.process.world_size
        self.reporter.progress(
            Progress(
                phase=phase.name,
                epoch=self.state.epoch,
                num_epochs=self.algorithm.phases[-1].end_epoch,
                step=self.state.step,
                num_steps=self.num_steps,
                loss=result.losses[0],
                images_per_second=images / max(seconds, 1e-9),
                seconds_left=self._time_left.predict(self.state.phase_steps, self.state.phase_seconds),
            )
        )

    def _count_time(self, phase: Phase, seconds: float) -> None:
        steps, times = self.state.phase_steps, self.state.phase_seconds
        steps[phase.name] = steps.get(phase.name, 0) + 1
        times[phase.name] = times.get(phase.name, 0.0) + seconds

    def _maybe_save(self) -> None:
        config = self.config.checkpoints
        is_due = config.every_steps is not None and self.state.step % config.every_steps == 0
        is_due |= time.monotonic() - self._last_checkpoint > 60 * config.every_minutes
        stop = self.process.any(self.stop_requested)
        if self.process.any(is_due) or stop:
            self.save_checkpoint()
        if stop:
            raise TrainingStoppedError(
                f"Stopped after update {self.state.step}; everything so far is in a checkpoint.",
                hint=f"Go on with: ofa-tk train --resume --out {self.folder}",
            )

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(kind, self.state.step, values)

    def save_checkpoint(self, *, is_best: bool = False) -> None:
        """Write everything that decides how the run goes on."""
        self.process.average_buffers(self.supernet)
        if self.process.is_main:
            self.store.save(self.state.step, self.state_dict(), is_best=is_best)
        self._last_checkpoint = time.monotonic()
        self.process.barrier()

    def state_dict(self) -> dict[str, Any]:
        """The content of a checkpoint."""
        teacher = self.updater.teacher
        return {
            "state": dataclasses.asdict(self.state),
            "supernet": self.supernet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.updater.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "teacher": teacher.state_dict() if teacher is not None else None,
            "watch": self.watch.state_dict(),
        }

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Continue from the content of a checkpoint of the same run."""
        self.state = TrainState(**content["state"])
        self.supernet.load_state_dict(content["supernet"])
        self.optimizer.state.clear()
        self.optimizer.load_state_dict(content["optimizer"])
        self.updater.scaler.load_state_dict(content["scaler"])
        self.watch.load_state_dict(content["watch"])
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.updater.teacher = None
        if content["teacher"] is not None:
            subnet = next(phase.teacher for phase in self.algorithm.phases if phase.teacher is not None)
            self.updater.teacher = self.frozen_copy(subnet)
            self.updater.teacher.load_state_dict(content["teacher"])

    def restore_latest(self) -> Path:
        """Continue from the newest checkpoint; returns its path."""
        path = self.store.latest()
        self.load_state_dict(read_checkpoint(path))
        return path

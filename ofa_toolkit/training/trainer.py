"""The training loop that every method shares.

A run is a function of its configuration, images and number of processes: it may be killed anywhere and
resumed, and ends with the same weights (bit for bit on a CPU with the same number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ofa_toolkit.core.errors import CheckpointError, TrainingError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.core.rng import generator, torch_seed
from ofa_toolkit.datasets.dataset import Batch, ImageDataset
from ofa_toolkit.datasets.report import class_counts
from ofa_toolkit.evaluation.accuracy import Accuracy, recalibration_batches
from ofa_toolkit.evaluation.sampling import accuracy_text
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.algorithm import Algorithm, Phase, Position
from ofa_toolkit.training.checkpointer import Checkpointer
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.cost import TimeLeft
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.divergence import DivergenceWatch
from ofa_toolkit.training.label_teacher import LabelTeacher
from ofa_toolkit.training.learner import Learner
from ofa_toolkit.training.losses import balanced_class_weights
from ofa_toolkit.training.metrics import MetricsLog
from ofa_toolkit.training.reporting import TrainingProgress
from ofa_toolkit.training.resuming import how_to_go_on
from ofa_toolkit.training.state import TrainState
from ofa_toolkit.training.unread import ReadStep, UnreadSteps
from ofa_toolkit.training.validation import named_subnets, validate

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
        supernet: The supernet with its weights at the start; changed in place.
        dataset: Images.
        folder: The run folder: metrics and checkpoints.
        process: This process among those that train together.
        reporter: Told of progress and messages.
        on_epoch_end: Called in the main process with the trainer and the epoch that has just ended.
        label_teacher: Whose predictions take the place of the labels; None for the labels.
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
        reporter: Reporter = SILENT,
        on_epoch_end: Callable[[Trainer, int], None] | None = None,
        label_teacher: LabelTeacher | None = None,
    ) -> None:
        self.config = config
        self.algorithm = algorithm
        self.dataset = dataset
        self.process = process or Process()
        self.reporter = reporter if self.process.is_main else SILENT
        self.folder = folder
        if config.training.batch_size % (self.process.world_size * config.training.accumulation):
            raise TrainingError(
                f"A batch of {config.training.batch_size} cannot be shared equally by "
                f"{counted(self.process.world_size, 'process')} in "
                f"{counted(config.training.accumulation, 'part')} each."
            )
        self.named = named_subnets(config.validation, config.space.trained(len(dataset.output_names)))
        weights = None
        if config.data.class_weights == "balanced":
            weights = balanced_class_weights(class_counts(dataset, ("train",)).tolist())
        self.learner = Learner(
            config, supernet, self.process, class_weights=weights, label_teacher=label_teacher
        )
        self.watch = DivergenceWatch(len(dataset.output_names), config.divergence.window)
        self.checkpointer = Checkpointer(
            config,
            folder,
            dataset,
            self.learner,
            self.watch,
            next((phase for phase in algorithm.phases if phase.teacher is not None), None),
            self.process,
            self.reporter.message,
        )
        self.steps_per_epoch = dataset.steps_per_epoch(config.training.batch_size)
        self.stop_requested = False
        self._on_epoch_end = on_epoch_end
        self._time_left = TimeLeft(algorithm, self.steps_per_epoch)
        self._log: MetricsLog | None = None
        self._unread = UnreadSteps(config, self.process.device, self.steps_per_epoch)

    @property
    def state(self) -> TrainState:
        """Where the run stands."""
        return self.checkpointer.state

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
        for note in self.algorithm.notes(self.steps_per_epoch):
            self.reporter.message(note)
        self.checkpointer.begin_part()
        if self.process.is_main:
            self._log = MetricsLog(
                self.folder,
                last_step=self.state.step,
                use_tensorboard=self.config.tensorboard,
                reporter=self.reporter,
            )
        if self.state.step == 0:
            self.checkpointer.save()
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
        # Order, sizes, augmentation and subnets of a step are drawn from streams named by seed, epoch and
        # step, not from one generator that runs along. A resumed epoch therefore starts at its step without
        # replaying those before, and trains on what an unbroken run would have seen.
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
            with_unlabelled=self.learner.uses_unlabelled(phase),
        )
        mark, worked = time.monotonic(), time.process_time()
        for batch in batches:
            waited += time.monotonic() - mark
            self._update(phase, batch)
            last, problem = self._read() if self._unread.is_due(self.state) else (None, None)
            now = time.monotonic()
            self.state.parts[-1].count(phase.name, now - mark, time.process_time() - worked)
            mark = now
            if last is not None and problem is not None:
                # The losses are those of the weights before this update.
                self._roll_back(problem, ruined_after=last.step - 1, noticed_at=last.step)
                return
            if last is not None:
                self._report(phase, last.losses[0], len(batch[0]), now - started, first_step)
                if not self._save_if_due():
                    return
            mark, worked = mark + time.monotonic() - now, time.process_time()
        self._end_epoch(phase, epoch, waited / max(1e-9, time.monotonic() - started))

    def _resolution(self, phase: Phase, epoch: int, step: int) -> int:
        choices = phase.space.resolutions
        if len(choices) == 1:
            return choices[0]
        stream = generator(self.config.training.seed, "resolution", epoch, step)
        return int(stream.choice(choices))

    def _read(self) -> tuple[ReadStep | None, str | None]:
        """Take in the updates since the last reading: the last of them, or the first with what is wrong."""
        last = None
        for last in self._unread.read():
            self._write("step", last.values, step=last.step)
            if (problem := self.watch.check(last.losses, last.label_weight)) is not None:
                return last, problem
        return last, None

    def _update(self, phase: Phase, batch: Batch) -> None:
        """One step of the algorithm at the present position."""
        state, seed = self.state, self.config.training.seed
        position = Position(
            epoch=state.epoch,
            step=state.step_in_epoch,
            steps_per_epoch=self.steps_per_epoch,
            resolution=batch[0].shape[-1],
        )
        passes = self.algorithm.plan(phase, position, generator(seed, "subnets", state.step))
        rate = state.rate_factor * phase.learning_rate(state.epoch, state.step_in_epoch, self.steps_per_epoch)
        every = self.config.training.record_gradients_every
        result = self.learner.update(
            passes,
            batch,
            rate=rate,
            seed=torch_seed(seed, "step", state.step, self.process.rank),
            records_norms=every is not None and state.step % every == 0,
        )
        state.step += 1
        state.step_in_epoch += 1
        values: dict[str, Any] = {
            "epoch": state.epoch,
            "learning_rate": rate,
            **self.algorithm.figures(phase, position),
        }
        if result.total_norm is not None:
            values["phase"] = phase.name
            values |= {"gradient_norm": result.total_norm, "first_gradient_norm": result.first_norm}
        self._unread.add(state.step, passes, result, len(batch[1]), values)

    def _begin(self, index: int, phase: Phase) -> None:
        """What happens once when a phase begins."""
        self.watch.reset()
        self.learner.begin(phase, lambda: self._images_of(phase))
        if phase.sort_protected_widths is not None:
            self.reporter.message(f"Phase '{phase.name}': channels sorted by importance.")
        if phase.spread_from is not None:
            self.reporter.message(f"Phase '{phase.name}': the subnet's weights spread over the supernet.")
        self.state.begun_phase = index
        if self.state.best_phase < index:  # else a rollback went back to before the phase
            self.state.best, self.state.best_phase = -1.0, index
        self._write("phase", {"phase": phase.name, "epoch": self.state.epoch})

    def _images_of(self, phase: Phase) -> Iterator[Batch]:
        """Augmented training images at the size of the phase's largest network, the same in every process."""
        return recalibration_batches(
            self.dataset,
            phase.space.largest().resolution,
            batch_size=self.config.validation.batch_size,
            limit=self.config.validation.recalibration_images,
            device=self.process.device,
        )

    def _end_epoch(self, phase: Phase, epoch: int, waited_share: float) -> None:
        values: dict[str, Any] = {"epoch": epoch, "phase": phase.name, "data_share": waited_share}
        if waited_share > SLOW_DATA_SHARE:
            more = max(1, 2 * self.config.data.num_workers)
            self.reporter.message(
                f"{self._epoch_name(epoch)}: {100 * waited_share:.0f} % of the time went into waiting for "
                f"images. More workers may help: --set data.num_workers={more}"
            )
        problem = self.checkpointer.find_damage()
        every = self.config.validation.every_epochs
        results: dict[str, Accuracy] = {}
        if problem is None and ((epoch + 1) % every == 0 or epoch + 1 == phase.end_epoch):
            results = self.validate(phase)
            lost = [name for name, result in results.items() if not math.isfinite(result.loss)]
            problem = self.process.agree(
                f"the validation loss of '{lost[0]}' is not finite" if lost else None
            )
        if problem is not None:
            self._roll_back(problem, ruined_after=self.state.step, noticed_at=self.state.step)
            return
        self.state.epoch, self.state.step_in_epoch = epoch + 1, 0
        is_best = False
        if results:
            self.state.accuracies = {name: result.top1_percent for name, result in results.items()}
            mean = self.state.mean_accuracy
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
        if self.process.is_main and self._on_epoch_end is not None:
            self._on_epoch_end(self, epoch)
        self.checkpointer.save(is_best=is_best)

    def _epoch_name(self, epoch: int) -> str:
        """As people count, and as the progress bar does."""
        return f"epoch {epoch + 1}/{self.algorithm.phases[-1].end_epoch}"

    def validate(self, phase: Phase) -> dict[str, Accuracy]:
        """Judge the phase's subnets with the weights that would be saved now."""
        self.process.average_buffers(self.learner.supernet)
        return validate(
            self.learner.final_supernet(),
            self.dataset,
            phase,
            self.named,
            self.config.validation,
            self.process.device,
            self.algorithm.only_subnet,
            recalibrates=not (self.learner.frozen and self.learner.supernet.space.has_one_subnet),
        )

    def _roll_back(self, problem: str, *, ruined_after: int, noticed_at: int) -> None:
        """Go back to the newest checkpoint from before the damage with a lower rate, or give up.

        Args:
            problem: The fault, in words.
            ruined_after: The number of updates after which weights are known to be bad.
            noticed_at: The number of updates after which it showed.
        """
        state, config = self.state, self.config.divergence
        where = f"{self._epoch_name(state.epoch)}, update {noticed_at}"
        self._write("divergence", {"problem": problem, "epoch": state.epoch})
        hint = (
            "Train with a lower rate, for example --set schedule.learning_rate="
            f"{self.config.schedule.learning_rate / 4:g}"
            if ruined_after > 0
            else "No update was made before: the images or the weights of --init are to blame."
        )
        if state.rollbacks >= config.rollbacks:
            raise TrainingError(
                f"Training diverged at {where}: {problem}. Rollbacks so far: {state.rollbacks}.", hint=hint
            )
        try:
            path = self.checkpointer.restore(before=ruined_after)
        except CheckpointError as error:
            raise TrainingError(
                f"Training diverged at {where}: {problem}. There is no checkpoint from before that.",
                hint=hint,
            ) from error
        if state.best >= 0:
            # It was measured, whatever became of the weights afterwards, and is what `best.pt` holds.
            self.state.best, self.state.best_phase = state.best, state.best_phase
        self.state.keep_time_of(state)
        self.checkpointer.begin_part()
        self.state.rollbacks = state.rollbacks + 1
        self.state.rate_factor = factor = state.rate_factor * config.rate_factor
        self.reporter.message(
            f"Training diverged at {where}: {problem}. Back to '{path.name}' with the rate times {factor:g}."
        )
        # Saved at once: a run killed now must not forget that it has been here.
        self.checkpointer.save()

    def _report(self, phase: Phase, loss: float, num_images: int, seconds: float, first_step: int) -> None:
        images = (self.state.step_in_epoch - first_step) * num_images * self.process.world_size
        num_epochs = self.algorithm.phases[-1].end_epoch
        self.reporter.progress(
            TrainingProgress(
                what=f"epoch {self.state.epoch + 1}/{num_epochs} {phase.name}",
                done=self.state.step,
                total=self.num_steps,
                facts=f"loss {loss:.3f}  {images / max(seconds, 1e-9):.0f} images/s",
                seconds_left=self._time_left.predict(self.state.phase_steps, self.state.phase_seconds),
                loss=loss,
            )
        )

    def _save_if_due(self) -> bool:
        """Write a checkpoint when it is time, and stop when asked to; False after a rollback."""
        stop = self.process.any(self.stop_requested)
        if stop or self.checkpointer.is_due():
            if (problem := self.checkpointer.find_damage()) is not None:
                self._roll_back(problem, ruined_after=self.state.step, noticed_at=self.state.step)
                return False
            self.checkpointer.save()
        if stop:
            raise TrainingStoppedError(
                f"Stopped after update {self.state.step}; everything so far is in a checkpoint.",
                hint=how_to_go_on(self.config, self.folder, self.process.world_size),
            )
        return True

    def _write(self, kind: str, values: dict[str, Any], step: int | None = None) -> None:
        if self._log is not None:
            self._log.write(kind, self.state.step if step is None else step, values)

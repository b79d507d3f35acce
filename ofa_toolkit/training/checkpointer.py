"""A run's state, into checkpoints and back."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ofa_toolkit.core.errors import CheckpointError, first_line
from ofa_toolkit.datasets.dataset import ImageDataset
from ofa_toolkit.supernets.finiteness import first_not_finite
from ofa_toolkit.training.algorithm import Phase
from ofa_toolkit.training.checkpoint import Checkpoint, CheckpointStore, read_checkpoint
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.divergence import DivergenceWatch
from ofa_toolkit.training.learner import Learner
from ofa_toolkit.training.resuming import check_images, check_release
from ofa_toolkit.training.run_folder import CHECKPOINTS_FOLDER
from ofa_toolkit.training.state import Part, TrainState


class Checkpointer:
    """Saves and restores a run.

    Args:
        config: The run.
        folder: The run folder.
        dataset: Images of the run, which have to be those of the checkpoint.
        learner: The supernet with its optimizer and teacher.
        watch: The divergence watch.
        teacher: The phase that takes the method's teacher; None without one.
        process: This process among those that train together; the main one writes.
        tell: Hears what a user should know.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        dataset: ImageDataset,
        learner: Learner,
        watch: DivergenceWatch,
        teacher: Phase | None,
        process: Process,
        tell: Callable[[str], None],
    ) -> None:
        self.state = TrainState()
        self.store = CheckpointStore(folder / CHECKPOINTS_FOLDER, keep=config.checkpoints.keep)
        self._config = config
        self._folder = folder
        self._dataset = dataset
        self._learner = learner
        self._watch = watch
        self._teacher = teacher
        self._process = process
        self._tell = tell
        self._last_save = time.monotonic()

    @functools.cached_property
    def _fingerprint(self) -> dict[str, str]:
        return self._dataset.fingerprint()

    def begin_part(self) -> None:
        """Count time apart from here on where the run goes on on other devices than before, and say so."""
        now = Part(
            num_devices=self._process.world_size,
            device=self._process.device.type,
            threads=torch.get_num_threads(),
        )
        if (text := self.state.begin_part(now)) is not None:
            self._tell(text)

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint; the same in every process."""
        config = self._config.checkpoints
        by_steps = config.every_steps is not None and self.state.step % config.every_steps == 0
        return self._process.any(by_steps or time.monotonic() - self._last_save > 60 * config.every_minutes)

    def find_damage(self) -> str | None:
        """What of all that a checkpoint would hold is not finite, in words; the same in every process."""
        name = first_not_finite(self._learner.state_dict())
        return self._process.agree(None if name is None else f"'{name}' is not finite")

    def save(self, *, is_best: bool = False) -> None:
        """Write everything that decides how the run goes on.

        Raises:
            CheckpointError: It cannot be written.
        """
        self._process.average_buffers(self._learner.supernet)
        if self._process.is_main:
            content = {
                "state": dataclasses.asdict(self.state),
                "data": self._fingerprint,
                "watch": self._watch.state_dict(),
                **self._learner.state_dict(),
            }
            self.store.save(self.state.step, content, is_best=is_best)
        self._last_save = time.monotonic()
        self._process.barrier()

    def restore(self, *, before: int | None = None) -> Path:
        """Go on from the newest usable checkpoint; returns its path.

        Args:
            before: Roll back to one with fewer updates; the best one then stays what it is.

        Raises:
            CheckpointError: There is none, or it belongs to other images or another network.
        """
        chosen: list[Checkpoint] = []

        def choose() -> Path:
            checkpoint = self.store.newest(self._tell, before=before)
            self._check(checkpoint)
            if before is None:
                self.store.mend_best(checkpoint, self._tell)
            self.store.tidy(checkpoint.state.step)
            chosen.append(checkpoint)
            return checkpoint.path

        path = self._process.from_main(choose)
        self._load(chosen[0] if chosen else read_checkpoint(path))
        return path

    def _check(self, checkpoint: Checkpoint) -> None:
        """Refuse a checkpoint of other images, or one whose method has become another."""
        if "data" in checkpoint.content:
            check_images(self._folder, checkpoint.content["data"], self._dataset, self._fingerprint)
            return
        check_release(checkpoint.path, self._config)
        self._tell(
            f"'{checkpoint.path.name}' is of an earlier release and does not say on which images the run "
            "began; whether these are the same was not checked."
        )

    def _load(self, checkpoint: Checkpoint) -> None:
        try:
            self._learner.load_state_dict(checkpoint.content, self._teacher)
            self._watch.load_state_dict(checkpoint.content["watch"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            raise CheckpointError(
                f"'{checkpoint.path}' does not fit the run of '{self._folder}': {first_line(error)}"
            ) from error
        self.state = checkpoint.state

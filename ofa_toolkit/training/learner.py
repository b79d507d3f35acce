"""What learns: a supernet with its optimizer, moving average and teacher; one update at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ofa_toolkit.datasets.dataset import Batch
from ofa_toolkit.supernets import Supernet, extract, sort_channels
from ofa_toolkit.supernets.batchnorm.fitting import input_norms
from ofa_toolkit.supernets.batchnorm.recalibration import batch_norms
from ofa_toolkit.supernets.channel_sorting import apply_moves
from ofa_toolkit.supernets.spreading import spread
from ofa_toolkit.training.algorithm import Pass, Phase
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.freezing import freeze_layers, frozen_layers
from ofa_toolkit.training.label_teacher import LabelTeacher
from ofa_toolkit.training.optimizer import MovingAverage, build_optimizer, set_learning_rate
from ofa_toolkit.training.shared_batchnorm import share_batch_norm
from ofa_toolkit.training.step import StepResult, Updater


class Learner:
    """Everything of a run that holds tensors.

    Args:
        config: Configuration of the run.
        supernet: The supernet with its weights at the start; changed in place.
        process: This process among those that train together.
        class_weights: See `Updater`.
        label_teacher: Network whose predictions take the place of labels, or None.

    Attributes:
        frozen: Names of the layers that keep their weights.
    """

    def __init__(
        self,
        config: RunConfig,
        supernet: Supernet,
        process: Process,
        class_weights: Tensor | None = None,
        label_teacher: LabelTeacher | None = None,
    ) -> None:
        loop = config.training
        self.supernet = supernet.to(process.device)
        self.frozen = frozen_layers(supernet.space, loop.freeze)
        freeze_layers(supernet, self.frozen)
        if loop.channels_last:
            self.supernet.to(memory_format=torch.channels_last)
        if loop.sync_batchnorm and process.world_size > 1:
            share_batch_norm(self.supernet)
        self.optimizer = build_optimizer(config.optimizer, self.supernet)
        if class_weights is not None:
            class_weights = class_weights.to(process.device)
        self.updater = Updater(self.supernet, self.optimizer, loop, process, class_weights, label_teacher)
        self.average = MovingAverage(self.supernet, loop.ema_decay) if loop.ema_decay else None
        self.teacher: torch.nn.Module | None = None
        self._device = process.device

    def update(
        self, passes: Sequence[Pass], batch: Batch, *, rate: float, seed: int, records_norms: bool = False
    ) -> StepResult:
        """Make one update.

        Args:
            passes: The passes of the step.
            batch: Images (B, 3, R, R) and labels (B,): this process's part.
            rate: Learning rate.
            seed: Seed of dropout, the only thing that draws from torch's own stream.
            records_norms: Whether the gradients' norms are wanted.
        """
        set_learning_rate(self.optimizer, rate)
        torch.manual_seed(seed)
        self.supernet.train()
        images, labels = batch
        result = self.updater(images, labels, passes, teacher=self.teacher, records_norms=records_norms)
        if self.average is not None:
            self.average.update(self.supernet)
        return result

    def uses_unlabelled(self, phase: Phase) -> bool:
        """Whether images without labels can teach anything in a phase."""
        return self.updater.label_teacher is not None or phase.alone is None

    def begin(self, phase: Phase, images: Callable[[], Iterable[Batch]]) -> None:
        """What a phase asks for once, when it begins: a teacher, a fresh optimizer, sorted channels.

        Args:
            phase: The phase.
            images: Gives training images, for sorting by activations.
        """
        self.take_teacher(phase)
        if phase.resets_optimizer:
            self.optimizer.state.clear()
        if phase.spread_from is not None:
            spread(self.supernet, phase.spread_from)
            self._change_average(partial(spread, subnet=phase.spread_from))
        if phase.sort_protected_widths is not None:
            norms = None
            if phase.sort_by == "activations":
                norms = input_norms(self.supernet, phase.space.largest(), images())
            moves = sort_channels(
                self.supernet,
                num_protected_widths=phase.sort_protected_widths,
                optimizer=self.optimizer,
                input_norms=norms,
            )
            self._change_average(partial(apply_moves, moves=moves))

    def _change_average(self, change: Callable[[Supernet], None]) -> None:
        """Do to the average of weights, if there is one, what was done to the weights."""
        if self.average is not None:
            averaged = self.final_supernet()
            change(averaged)
            self.average.values = averaged.state_dict()

    def take_teacher(self, phase: Phase) -> torch.nn.Module | None:
        """Freeze a copy of the phase's teacher, if it has one, without dropout; its statistics stay."""
        if phase.teacher is None:
            return None
        teacher = extract(self.supernet, phase.teacher).train(phase.teacher_batchnorm == "batch")
        for _, norm in batch_norms(teacher):
            norm.momentum = 0.0
        teacher.requires_grad_(False)
        teacher.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = teacher
        return teacher

    def final_supernet(self) -> Supernet:
        """A copy with the weights a user gets: the moving average where there is one, else the present ones.

        It normalises by itself also where training shares batch statistics among processes.
        """
        copy = Supernet(
            self.supernet.space,
            use_kernel_transforms=self.supernet.use_kernel_transforms,
            dropout=self.supernet.dropout,
            bn_momentum=self.supernet.bn_momentum,
        ).to(self._device)
        copy.load_state_dict(self.average.values if self.average else self.supernet.state_dict())
        return copy

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "supernet": self.supernet.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.updater.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "teacher": self.teacher.state_dict() if self.teacher is not None else None,
        }

    def load_state_dict(self, content: Mapping[str, Any], teacher: Phase | None) -> None:
        """From a checkpoint of the same run.

        Args:
            content: A checkpoint's content, as `state_dict` made it.
            teacher: The phase that takes its teacher, if it has one.
        """
        self.supernet.load_state_dict(content["supernet"])
        self.optimizer.state.clear()
        self.optimizer.load_state_dict(content["optimizer"])
        self.updater.scaler.load_state_dict(content["scaler"])
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.teacher = None
        if content["teacher"] is not None:
            assert teacher is not None, "the run has no teacher"
            taken = self.take_teacher(teacher)
            assert taken is not None
            taken.load_state_dict(content["teacher"])

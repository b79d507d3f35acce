"""Updates whose losses are still on the device: reading them waits for it, so several are read at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ofa_toolkit.training.algorithm import Pass
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.state import TrainState
from ofa_toolkit.training.step import StepResult

UPDATES_PER_READING = 10
"""Updates whose losses are read at once on a GPU, where the settings do not say."""


@dataclass(frozen=True, kw_only=True)
class ReadStep:
    """An update as metrics.jsonl and the watch for divergence take it.

    Attributes:
        step: Number of updates with it.
        losses: Loss of each pass, before its gradient weight, mean over the processes.
        label_weight: Sum of the weights of hard and soft labels in the first pass.
        values: Its line in metrics.jsonl.
    """

    step: int
    losses: tuple[float, ...]
    label_weight: float
    values: dict[str, Any]


class UnreadSteps:
    """Keeps updates in order until they are read.

    Args:
        config: The run.
        device: Where it trains.
        steps_per_epoch: Updates of an epoch.
    """

    def __init__(self, config: RunConfig, device: torch.device, steps_per_epoch: int) -> None:
        chosen = config.training.read_losses_every
        self._every = chosen or (1 if device.type == "cpu" else UPDATES_PER_READING)
        self._checkpoint_every = config.checkpoints.every_steps
        self._steps_per_epoch = steps_per_epoch
        self._steps: list[tuple[int, Sequence[Pass], StepResult, int, dict[str, Any]]] = []

    def is_due(self, state: TrainState) -> bool:
        """Whether they are read now: every few updates, at the end of an epoch, before a checkpoint."""
        if state.step % self._every == 0 or state.step_in_epoch == self._steps_per_epoch:
            return True
        return self._checkpoint_every is not None and state.step % self._checkpoint_every == 0

    def add(
        self, step: int, passes: Sequence[Pass], result: StepResult, num_images: int, values: dict[str, Any]
    ) -> None:
        """Keep an update.

        Args:
            step: Number of updates with it.
            passes: Its passes.
            result: What it was like, on the device.
            num_images: Labelled images it saw in this process.
            values: What is known of it for metrics.jsonl.
        """
        self._steps.append((step, passes, result, num_images, values))

    def read(self) -> Iterator[ReadStep]:
        """Wait for the device; gives every kept update, and forgets them all."""
        steps, self._steps = self._steps, []
        for step, passes, result, num_images, values in steps:
            losses = tuple(result.losses.tolist())
            line = {**values, "train_accuracy": 100 * int(result.num_correct) / num_images}
            for number, (item, loss) in enumerate(zip(passes, losses, strict=True)):
                line[f"loss_{number}_{item.role}"] = loss
            yield ReadStep(step=step, losses=losses, label_weight=passes[0].label_weight, values=line)

"""What a training method is: phases, and for each step which subnets learn from what.

The trainer owns the loop, the optimizer, checkpoints and machines; DϵpS, OFA, BigNAS and CompOFA differ
in the two answers defined here and in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ofa_toolkit.spaces import SearchSpace, Subnet
from ofa_toolkit.training.schedules import Schedule

if TYPE_CHECKING:
    from ofa_toolkit.training.config import RunConfig


Aggregation = Literal["sum", "average", "avg_sqrt"]
"""How a step's gradients become one: `training.aggregation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward and backward pass of a step.

    Attributes:
        role: For metrics: `largest`, `smallest`, `random`.
        subnet: The subnet that runs.
        gradient_weight: Factor on the gradient (DϵpS's epsilon for all but the largest).
        hard_labels: Weight of the cross-entropy with the labels.
        soft_labels: Weight of the cross-entropy with another network's predictions.
        features: Weight of the squared difference to the teacher's features, those its classifier reads, in
            units of their variance over the batch.
        source: Whose predictions: those of the step's first pass (its training-mode logits, detached), or
            of the phase's teacher. None where `soft_labels` is 0.
        temperature: Softens both predictions.
        use_dropout: Whether dropout acts.
        aggregation: Treatment of the sum of the step's weighted gradients, the same for all its passes.
    """

    role: str
    subnet: Subnet
    gradient_weight: float = 1.0
    hard_labels: float = 1.0
    soft_labels: float = 0.0
    features: float = 0.0
    source: Literal["first pass", "teacher"] | None = None
    temperature: float = 1.0
    use_dropout: bool = True
    aggregation: Aggregation = "sum"

    @property
    def label_weight(self) -> float:
        """Weight of hard and soft labels together."""
        return self.hard_labels + self.soft_labels


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A run of epochs with the same rules.

    Attributes:
        name: For logs and cost.
        first_epoch: Number of the first epoch, counted over all phases.
        epochs: Number of epochs.
        space: Subnets that train in the phase; its largest and smallest are validated.
        schedule: Learning rate.
        schedule_start: Epoch at which the schedule's progress is 0.
        schedule_epochs: Epochs over which its progress goes to 1.
        alone: Which extreme of the space trains alone (and is worth validating); None where several do.
        sort_protected_widths: Sort channels when the phase begins, with this many protected widths
            (`sort_channels`); None does not sort.
        sort_by: What tells a channel's importance: the weights that read it, or those and how strong it is on
            training images.
        spread_from: Subnet whose weights are spread over the supernet when the phase begins (`spread`).
        teacher: Subnet of which a frozen copy is taken as teacher when the phase begins.
        teacher_batchnorm: Whether the teacher normalises by each batch, or by the stored statistics.
        resets_optimizer: Whether momentum is forgotten when the phase begins.
    """

    name: str
    first_epoch: int
    epochs: int
    space: SearchSpace
    schedule: Schedule
    schedule_start: int
    schedule_epochs: int
    alone: Literal["largest", "smallest"] | None = None
    sort_protected_widths: int | None = None
    sort_by: Literal["weights", "activations"] = "weights"
    spread_from: Subnet | None = None
    teacher: Subnet | None = None
    teacher_batchnorm: Literal["batch", "stored"] = "batch"
    resets_optimizer: bool = False

    @classmethod
    def of_whole_run(cls, name: str, run: RunConfig, space: SearchSpace) -> Phase:
        """A phase that takes all epochs of a run."""
        epochs = run.training.epochs
        return cls(
            name=name,
            first_epoch=0,
            epochs=epochs,
            space=space,
            schedule=run.schedule.build(),
            schedule_start=0,
            schedule_epochs=epochs,
        )

    @property
    def end_epoch(self) -> int:
        """The epoch after the last."""
        return self.first_epoch + self.epochs

    def learning_rate(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Rate at a step of an epoch (counted over all phases)."""
        done = (epoch - self.schedule_start) * steps_per_epoch + step
        return self.schedule(done / (self.schedule_epochs * steps_per_epoch))


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run stands.

    Attributes:
        epoch: Over all phases, from 0.
        step: Within the epoch, from 0.
        steps_per_epoch: Updates of an epoch.
        resolution: Side in pixels of this step's images.
    """

    epoch: int
    step: int
    steps_per_epoch: int
    resolution: int


class Algorithm(Protocol):
    """A training method bound to a space and a number of epochs.

    Attributes:
        phases: In order, covering all epochs.
        only_subnet: The subnet that trains where it is the only one (fine-tuning); it alone is judged then.
    """

    phases: tuple[Phase, ...]
    only_subnet: Subnet | None = None

    def plan(self, phase: Phase, position: Position, generator: np.random.Generator) -> Sequence[Pass]:
        """The passes of one step, in order.

        Args:
            phase: One of `phases`.
            position: The update that comes next.
            generator: This step's own stream, the same in every process and after a resume.
        """
        ...

    def figures(self, phase: Phase, position: Position) -> Mapping[str, float]:  # noqa: ARG002
        """Numbers of the method's own to record with a step, such as DϵpS's epsilon."""
        return {}

    def notes(self, steps_per_epoch: int) -> Sequence[str]:  # noqa: ARG002
        """What a user should know of how the settings turn out with so many steps an epoch."""
        return ()


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig:
    """Base of the `[algorithm]` table; `name` says which."""

    name: str
    "The training method."

    def build(self, run: RunConfig, space: SearchSpace) -> Algorithm:
        """Bind the method to a run.

        Args:
            run: The whole configuration.
            space: Subnets to train.
        """
        raise NotImplementedError

    @property
    def imitates(self) -> bool:
        """Whether networks learn from others' predictions, at least in the phases of several networks."""
        return False

    @property
    def use_kernel_transforms(self) -> bool:
        """Whether the supernet has OFA's kernel matrices."""
        return False

    @property
    def use_zero_gamma(self) -> bool:
        """Whether residual branches start at zero."""
        return False

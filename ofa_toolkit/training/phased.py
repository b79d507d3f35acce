"""What OFA and CompOFA share: a teacher, then phases of subnets that learn from labels and from the teacher.

The methods differ in which subnets a phase offers, how many train in a step and how long; each writes that
down as rows of `PhaseRule`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces import SearchSpace, sample_subnets
from ofa_toolkit.training.algorithm import Algorithm, AlgorithmConfig, Pass, Phase, Position

if TYPE_CHECKING:
    from ofa_toolkit.training.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class PhasedConfig(AlgorithmConfig):
    """Settings that both methods have."""

    phase_names: ClassVar[tuple[str, ...]]

    distillation: Annotated[float, Bounds(at_least=0)] = 1.0
    "Weight of the teacher's predictions, beside weight 1 of the labels (the authors' KD ratio)."
    temperature: Annotated[float, Bounds(above=0)] = 1.0
    "Temperature of the distillation."
    skip_teacher: bool = False
    "Start from `--init` weights: the largest network in them is the teacher, and its phase is left out."
    phase_epochs: tuple[float, ...] = ()
    "Proportions of the phases, the teacher's first; the authors' where empty."
    phase_rates: tuple[float, ...] = ()
    "Learning rates of the phases relative to schedule.learning_rate; the authors' proportions where empty."

    @property
    def imitates(self) -> bool:
        """Whether networks learn from others' predictions."""
        return self.distillation > 0

    def __post_init__(self) -> None:
        for name, values in (("phase_epochs", self.phase_epochs), ("phase_rates", self.phase_rates)):
            if values and (len(values) != len(self.phase_names) or min(values) <= 0):
                raise ConfigError(
                    f"{name}: expected {len(self.phase_names)} positive numbers "
                    f"({', '.join(self.phase_names)}), got {list(values)}."
                )


@dataclass(frozen=True, kw_only=True)
class PhaseRule:
    """A phase as its method's authors set it.

    Attributes:
        name: Name of the phase.
        space: Subnets it offers.
        num_networks: Subnets a step.
        epochs: In any unit; only the proportion between phases counts.
        rate: Learning rate relative to that of the run.
        sort: Protected widths for sorting channels when the phase begins; None does not sort.
        is_needed: Whether the space leaves the phase anything to do.
    """

    name: str
    space: SearchSpace
    num_networks: int
    epochs: float
    rate: float
    sort: int | None = None
    is_needed: bool = True


class Phased(Algorithm):
    """A method of phases bound to a space and a number of epochs.

    Args:
        config: The method's settings.
        run: The whole configuration.
        space: Subnets to train; its largest is the teacher.
        rules: All of the method's phases in order, the teacher's first.

    Raises:
        ConfigError: There is no teacher, or there are fewer epochs than phases.
    """

    def __init__(
        self, config: PhasedConfig, run: RunConfig, space: SearchSpace, rules: Sequence[PhaseRule]
    ) -> None:
        if config.skip_teacher and run.init is None:
            raise ConfigError("algorithm.skip_teacher: without a teacher phase, --init must name weights.")
        self.config = config
        self._num_networks = {rule.name: rule.num_networks for rule in rules}
        proportions = config.phase_epochs or [rule.epochs for rule in rules]
        rates = config.phase_rates or [rule.rate for rule in rules]
        chosen = [
            index
            for index, rule in enumerate(rules)
            if rule.is_needed and not (config.skip_teacher and index == 0)
        ]
        epochs = share_out_epochs(run.training.epochs, [proportions[index] for index in chosen])
        # The teacher is copied when its own phase is over.
        taught = 0 if config.skip_teacher else 1
        self.phases: tuple[Phase, ...] = tuple(
            Phase(
                name=rules[index].name,
                first_epoch=sum(epochs[:position]),
                epochs=epochs[position],
                space=rules[index].space,
                schedule=run.schedule.build(rates[index]),
                schedule_start=sum(epochs[:position]),
                schedule_epochs=epochs[position],
                alone="largest" if index == 0 else None,
                sort_protected_widths=rules[index].sort,
                teacher=space.largest() if position == taught else None,
                resets_optimizer=True,
            )
            for position, index in enumerate(chosen)
        )

    def plan(self, phase: Phase, position: Position, generator: np.random.Generator) -> Sequence[Pass]:
        """The largest on labels in the teacher phase, else random subnets on labels and teacher."""
        if phase.alone:
            return (Pass(role="largest", subnet=phase.space.largest(position.resolution)),)
        subnets = sample_subnets(
            phase.space, self._num_networks[phase.name], generator, resolution=position.resolution
        )
        return tuple(
            Pass(
                role="random",
                subnet=subnet,
                soft_labels=self.config.distillation,
                source="teacher" if self.config.distillation else None,
                temperature=self.config.temperature,
            )
            for subnet in subnets
        )


def share_out_epochs(total: int, proportions: Sequence[float]) -> list[int]:
    """Split epochs in proportion, each part at least one, by largest remainders.

    Raises:
        ConfigError: There are fewer epochs than parts.
    """
    if total < len(proportions):
        raise ConfigError(
            f"training.epochs: {total} are too few for {len(proportions)} phases of at least one epoch."
        )
    ideal = np.array(proportions, dtype=float) / sum(proportions) * total
    epochs = np.maximum(1, np.floor(ideal)).astype(int)
    while epochs.sum() < total:
        epochs[int(np.argmax(ideal - epochs))] += 1
    while epochs.sum() > total:
        shrinkable = np.where(epochs > 1, epochs - ideal, -np.inf)
        epochs[int(np.argmax(shrinkable))] -= 1
    return [int(count) for count in epochs]

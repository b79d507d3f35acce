"""CompOFA (Sahni et al., ICLR 2021): progressive shrinking over compound subnets, in two phases.

A stage's expand ratio is tied to its depth (section 3), so that all depths and ratios become elastic at
once: after the teacher, a short and a long phase train the same 243 subnets. Kernel sizes are fixed per
stage and cut from the largest without matrices, or elastic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces import SearchSpace, compound, sample_subnets
from ofa_toolkit.training.algorithm import (
    Algorithm,
    AlgorithmConfig,
    Pass,
    Phase,
    Position,
    check_per_phase,
    distilled_pass,
    share_out_epochs,
)

if TYPE_CHECKING:
    from ofa_toolkit.training.config import RunConfig

# Epochs and learning rates as in the authors' code (for a batch of 2,048); the teacher is OFA's.
_PHASES = ("teacher", "compound 1", "compound 2")
_EPOCHS = (180.0, 25.0, 125.0)
_RATES = (1.0, 0.08 / 2.6, 0.24 / 2.6)
_NUM_NETWORKS = 4


@dataclass(frozen=True, kw_only=True)
class CompofaConfig(AlgorithmConfig):
    """CompOFA."""

    name: Literal["compofa"] = "compofa"
    "CompOFA."
    elastic_kernel: bool = False
    "Offer all kernel sizes instead of one a stage."
    distillation: Annotated[float, Bounds(at_least=0)] = 1.0
    "Weight of the teacher's predictions, beside weight 1 of the labels."
    temperature: Annotated[float, Bounds(above=0)] = 1.0
    "Of the distillation."
    skip_teacher: bool = False
    "Start from `--init` weights: the largest network in them is the teacher, and its phase is left out."
    phase_epochs: tuple[float, ...] = ()
    "Proportions of the phases teacher, compound 1, compound 2; the authors' where empty."
    phase_rates: tuple[float, ...] = ()
    "Learning rates of the phases relative to schedule.learning_rate; the authors' proportions where empty."

    def __post_init__(self) -> None:
        check_per_phase("phase_epochs", self.phase_epochs, len(_PHASES))
        check_per_phase("phase_rates", self.phase_rates, len(_PHASES))

    def build(self, run: RunConfig, space: SearchSpace) -> Algorithm:
        """Bind CompOFA to a run."""
        return Compofa(self, run, space)


class Compofa:
    """CompOFA bound to a space and a number of epochs. See `CompofaConfig`.

    The supernet is that of the whole space: its largest network, which no compound subnet exceeds, is the
    teacher.
    """

    def __init__(self, config: CompofaConfig, run: RunConfig, space: SearchSpace) -> None:
        if config.skip_teacher and run.init is None:
            raise ConfigError("algorithm.skip_teacher: without a teacher phase, --init must name weights.")
        self.config = config
        restricted = compound(space, elastic_kernel=config.elastic_kernel)
        chosen = range(1 if config.skip_teacher else 0, len(_PHASES))
        proportions = config.phase_epochs or _EPOCHS
        rates = config.phase_rates or _RATES
        epochs = share_out_epochs(run.training.epochs, [proportions[index] for index in chosen])
        phases: list[Phase] = []
        first = 0
        for index, count in zip(chosen, epochs, strict=True):
            phases.append(
                Phase(
                    name=_PHASES[index],
                    first_epoch=first,
                    epochs=count,
                    space=restricted if index else space,
                    schedule=run.schedule.build(rates[index]),
                    schedule_start=first,
                    schedule_epochs=count,
                    largest_only=index == 0,
                    # The reference sorts again in phase 2, which reassigns channels; once is enough.
                    sort_protected_widths=0 if index == 1 else None,
                    teacher=space.largest() if index == 1 else None,
                    resets_optimizer=True,
                )
            )
            first += count
        self.phases = tuple(phases)

    def plan(self, phase: Phase, position: Position, generator: np.random.Generator) -> Sequence[Pass]:
        """The largest on labels in the teacher phase, else four compound subnets."""
        if phase.largest_only:
            return (Pass(role="largest", subnet=phase.space.largest(position.resolution)),)
        subnets = sample_subnets(phase.space, _NUM_NETWORKS, generator, resolution=position.resolution)
        return tuple(
            distilled_pass(subnet, self.config.distillation, self.config.temperature) for subnet in subnets
        )

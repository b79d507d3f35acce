"""Once-for-all's progressive shrinking (Cai et al., ICLR 2020, section 3 and appendix B).

The largest network trains first and is kept as teacher; then kernel sizes, depths (two phases) and expand
ratios (two phases) become elastic one after the other. Every step trains subnets drawn uniformly from
what is elastic so far, on the labels and on the teacher's predictions. Each phase continues from the
weights of the one before; the reference downloads the authors' weights for each phase instead.

The teacher runs with batch statistics, as in the reference; unlike there, its own running statistics
do not drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces import SearchSpace, restrict, sample_subnets
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


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of the table of phases.

    Attributes:
        name: Of the phase.
        kernel_sizes: How many of the largest kernel sizes are offered; 0 for all.
        depths: How many of the largest depths.
        expand_ratios: How many of the largest ratios.
        num_networks: Subnets a step.
        epochs: The authors' number, warm-up included: a proportion here.
        rate: Learning rate, in the authors' unit (for a batch of 2,048).
        sort: Protected widths for sorting when the phase begins; None does not sort.
    """

    name: str
    kernel_sizes: int
    depths: int
    expand_ratios: int
    num_networks: int
    epochs: float
    rate: float
    sort: int | None = None


# The reference's settings. Its teacher is a given checkpoint; 180 epochs at 2.6 are the paper's.
STAGES = (
    Stage(name="teacher", kernel_sizes=1, depths=1, expand_ratios=1, num_networks=1, epochs=180, rate=2.6),
    Stage(name="kernel", kernel_sizes=0, depths=1, expand_ratios=1, num_networks=1, epochs=125, rate=0.96),
    Stage(name="depth 1", kernel_sizes=0, depths=2, expand_ratios=1, num_networks=2, epochs=25, rate=0.08),
    Stage(name="depth 2", kernel_sizes=0, depths=0, expand_ratios=1, num_networks=2, epochs=125, rate=0.24),
    Stage(
        name="expand 1",
        kernel_sizes=0,
        depths=0,
        expand_ratios=2,
        num_networks=4,
        epochs=25,
        rate=0.08,
        sort=0,
    ),
    Stage(
        name="expand 2",
        kernel_sizes=0,
        depths=0,
        expand_ratios=0,
        num_networks=4,
        epochs=125,
        rate=0.24,
        sort=1,
    ),
)


@dataclass(frozen=True, kw_only=True)
class OfaConfig(AlgorithmConfig):
    """Once-for-all progressive shrinking."""

    name: Literal["ofa"] = "ofa"
    "Once-for-all progressive shrinking."
    distillation: Annotated[float, Bounds(at_least=0)] = 1.0
    "Weight of the teacher's predictions, beside weight 1 of the labels (the authors' KD ratio)."
    temperature: Annotated[float, Bounds(above=0)] = 1.0
    "Of the distillation."
    kernel_transforms: bool = True
    "Whether smaller kernels pass through learned matrices."
    skip_teacher: bool = False
    "Start from `--init` weights: the largest network in them is the teacher, and its phase is left out."
    phase_epochs: tuple[float, ...] = ()
    "Proportions of teacher, kernel, depth 1, depth 2, expand 1, expand 2; the authors' where empty."
    phase_rates: tuple[float, ...] = ()
    "Learning rates of the phases relative to schedule.learning_rate; the authors' proportions where empty."

    def __post_init__(self) -> None:
        check_per_phase("phase_epochs", self.phase_epochs, len(STAGES))
        check_per_phase("phase_rates", self.phase_rates, len(STAGES))

    def build(self, run: RunConfig, space: SearchSpace) -> Algorithm:
        """Bind progressive shrinking to a run."""
        return Ofa(self, run, space)

    @property
    def use_kernel_transforms(self) -> bool:
        """Whether the supernet has kernel matrices."""
        return self.kernel_transforms


class Ofa:
    """Progressive shrinking bound to a space and a number of epochs. See `OfaConfig`."""

    def __init__(self, config: OfaConfig, run: RunConfig, space: SearchSpace) -> None:
        if config.skip_teacher and run.init is None:
            raise ConfigError("algorithm.skip_teacher: without a teacher phase, --init must name weights.")
        self.config = config
        proportions = config.phase_epochs or tuple(stage.epochs for stage in STAGES)
        rates = config.phase_rates or tuple(stage.rate / STAGES[0].rate for stage in STAGES)
        chosen = _worthwhile(space, skip_teacher=config.skip_teacher)
        epochs = share_out_epochs(run.training.epochs, [proportions[index] for index in chosen])
        phases: list[Phase] = []
        self._networks: dict[str, int] = {}
        first = 0
        for index, count in zip(chosen, epochs, strict=True):
            stage = STAGES[index]
            phases.append(
                Phase(
                    name=stage.name,
                    first_epoch=first,
                    epochs=count,
                    space=_offered(space, stage),
                    schedule=run.schedule.build(rates[index]),
                    schedule_start=first,
                    schedule_epochs=count,
                    largest_only=index == 0,
                    sort_protected_widths=stage.sort,
                    teacher=space.largest() if len(phases) == (0 if config.skip_teacher else 1) else None,
                    resets_optimizer=True,
                )
            )
            self._networks[stage.name] = stage.num_networks
            first += count
        self.phases = tuple(phases)

    def plan(self, phase: Phase, position: Position, generator: np.random.Generator) -> Sequence[Pass]:
        """The largest on labels in the teacher phase, else uniform subnets on labels and teacher."""
        if phase.largest_only:
            return (Pass(role="largest", subnet=phase.space.largest(position.resolution)),)
        subnets = sample_subnets(
            phase.space, self._networks[phase.name], generator, resolution=position.resolution
        )
        return tuple(
            distilled_pass(subnet, self.config.distillation, self.config.temperature) for subnet in subnets
        )


def _offered(space: SearchSpace, stage: Stage) -> SearchSpace:
    """The part of the space that is elastic in a phase."""

    def keep(values: set[float], count: int) -> list[float]:
        ranked = sorted(values, reverse=True)
        return ranked[:count] if count else ranked

    return restrict(
        space,
        depths=[int(d) for d in keep({d for s in space.stages for d in s.depths}, stage.depths)],
        kernel_sizes=[
            int(k) for k in keep({k for s in space.stages for k in s.kernel_sizes}, stage.kernel_sizes)
        ],
        expand_ratios=keep({e for s in space.stages for e in s.expand_ratios}, stage.expand_ratios),
    )


def _worthwhile(space: SearchSpace, *, skip_teacher: bool) -> list[int]:
    """Indices of the phases that make something elastic which the one before did not."""
    chosen: list[int] = [] if skip_teacher else [0]
    before = _offered(space, STAGES[0])
    for index, stage in enumerate(STAGES[1:], start=1):
        offered = _offered(space, stage)
        if offered != before:
            chosen.append(index)
        before = offered
    return chosen

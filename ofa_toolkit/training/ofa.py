"""Once-for-all's progressive shrinking (Cai et al., ICLR 2020, section 3 and appendix B).

The largest network trains first and is kept as teacher; then kernel sizes, depths (two phases) and expand
ratios (two phases) become elastic one after the other. Every step trains subnets drawn uniformly from
what is elastic so far, on the labels and on the teacher's predictions. Each phase continues from the
weights of the one before; the reference downloads the authors' weights for each phase instead.

The teacher runs with batch statistics, as in the reference; unlike there, its own running statistics
do not drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ofa_toolkit.spaces import SearchSpace, restrict
from ofa_toolkit.training.algorithm import Algorithm
from ofa_toolkit.training.phased import Phased, PhasedConfig, PhaseRule

if TYPE_CHECKING:
    from ofa_toolkit.training.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class PhaseRow:
    """One row of the table of phases.

    Attributes:
        name: Name of the phase.
        kernel_sizes: Number of the largest kernel sizes that are offered; 0 for all.
        depths: Number of the largest depths that are offered; 0 for all.
        expand_ratios: Number of the largest ratios that are offered; 0 for all.
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
PHASES = (
    PhaseRow(name="teacher", kernel_sizes=1, depths=1, expand_ratios=1, num_networks=1, epochs=180, rate=2.6),
    PhaseRow(name="kernel", kernel_sizes=0, depths=1, expand_ratios=1, num_networks=1, epochs=125, rate=0.96),
    PhaseRow(name="depth 1", kernel_sizes=0, depths=2, expand_ratios=1, num_networks=2, epochs=25, rate=0.08),
    PhaseRow(
        name="depth 2", kernel_sizes=0, depths=0, expand_ratios=1, num_networks=2, epochs=125, rate=0.24
    ),
    PhaseRow(
        name="expand 1",
        kernel_sizes=0,
        depths=0,
        expand_ratios=2,
        num_networks=4,
        epochs=25,
        rate=0.08,
        sort=0,
    ),
    PhaseRow(
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
class OfaConfig(PhasedConfig):
    """Once-for-all progressive shrinking."""

    phase_names: ClassVar[tuple[str, ...]] = tuple(stage.name for stage in PHASES)

    name: Literal["ofa"] = "ofa"
    "Once-for-all progressive shrinking."
    kernel_transforms: bool = True
    "Whether smaller kernels pass through learned matrices."

    def build(self, run: RunConfig, space: SearchSpace) -> Algorithm:
        """Bind progressive shrinking to a run."""
        return Phased(self, run, space, _rules(space))

    @property
    def use_kernel_transforms(self) -> bool:
        """Whether the supernet has kernel matrices."""
        return self.kernel_transforms


def _rules(space: SearchSpace) -> list[PhaseRule]:
    """One rule for each phase. A phase that offers no more than the one before it is marked as not needed."""
    rules: list[PhaseRule] = []
    for stage in PHASES:
        offered = _offered(space, stage)
        rules.append(
            PhaseRule(
                name=stage.name,
                space=offered,
                num_networks=stage.num_networks,
                epochs=stage.epochs,
                rate=stage.rate / PHASES[0].rate,
                sort=stage.sort,
                is_needed=not rules or offered != rules[-1].space,
            )
        )
    return rules


def _offered(space: SearchSpace, stage: PhaseRow) -> SearchSpace:
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

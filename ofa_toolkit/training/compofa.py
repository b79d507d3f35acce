"""CompOFA (Sahni et al., ICLR 2021): progressive shrinking over compound subnets, in two phases.

A stage's expand ratio is tied to its depth (section 3), so that all depths and ratios become elastic at
once: after the teacher, a short and a long phase train the same 243 subnets. Kernel sizes are fixed per
stage and cut from the largest without matrices, or elastic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ofa_toolkit.spaces import SearchSpace, compound
from ofa_toolkit.training.algorithm import Algorithm
from ofa_toolkit.training.phased import Phased, PhasedConfig, PhaseRule

if TYPE_CHECKING:
    from ofa_toolkit.training.config import RunConfig

_NUM_NETWORKS = 4


@dataclass(frozen=True, kw_only=True)
class CompofaConfig(PhasedConfig):
    """CompOFA."""

    phase_names: ClassVar[tuple[str, ...]] = ("teacher", "compound 1", "compound 2")

    name: Literal["compofa"] = "compofa"
    "CompOFA."
    elastic_kernel: bool = False
    "Offer all kernel sizes instead of one a stage."

    def build(self, run: RunConfig, space: SearchSpace) -> Algorithm:
        """Bind CompOFA to a run.

        The supernet is that of the whole space: its largest network, which no compound subnet exceeds, is
        the teacher. Epochs and learning rates are in the proportions of the authors' code (0.08 and 0.24
        beside OFA's teacher at 2.6).
        """
        teacher, first, second = self.phase_names
        offered = compound(space, elastic_kernel=self.elastic_kernel)
        rules = (
            PhaseRule(name=teacher, space=space, num_networks=1, epochs=180, rate=1.0),
            # The reference sorts again in phase 2, which reassigns channels; once is enough.
            PhaseRule(
                name=first, space=offered, num_networks=_NUM_NETWORKS, epochs=25, rate=0.08 / 2.6, sort=0
            ),
            PhaseRule(name=second, space=offered, num_networks=_NUM_NETWORKS, epochs=125, rate=0.24 / 2.6),
        )
        return Phased(self, run, space, rules)

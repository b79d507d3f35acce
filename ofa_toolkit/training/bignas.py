"""BigNAS (Yu et al., ECCV 2020): one phase, the sandwich rule and in-place distillation from the start.

Section 3 of the paper: every step trains the largest network on the labels, and the smallest and random
ones on the largest one's predictions; residual branches start at zero; the learning rate decays
exponentially with a constant ending; only the largest network is regularised. Dropout therefore acts on
the largest only. Weight decay enters a step's gradient once, which is the decay of the largest network:
it covers all weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.spaces import SearchSpace, sample_subnets
from ofa_toolkit.training.algorithm import Aggregation, Algorithm, AlgorithmConfig, Pass, Phase, Position

if TYPE_CHECKING:
    from ofa_toolkit.training.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class BigNasConfig(AlgorithmConfig):
    """BigNAS."""

    name: Literal["bignas"] = "bignas"
    "BigNAS."
    num_networks: Annotated[int, Bounds(at_least=2)] = 4
    "Networks a step, largest and smallest included."
    temperature: Annotated[float, Bounds(above=0)] = 1.0
    "Temperature of the distillation."
    zero_gamma: bool = True
    "Whether the last batch norm of every residual branch starts at zero."
    aggregation: Aggregation = "sum"
    """How the gradients of a step's networks become one: their sum; each entry's mean over the networks that
    use it; or the sum over the root of their number (avg_sqrt)."""
    dropout_on_largest_only: bool = True
    "Whether dropout acts on the largest network only."

    @property
    def imitates(self) -> bool:
        """Whether networks learn from others' predictions."""
        return True

    def build(self, run: RunConfig, space: SearchSpace) -> Algorithm:
        """Bind BigNAS to a run."""
        return BigNas(self, run, space)

    @property
    def use_zero_gamma(self) -> bool:
        """Whether residual branches start at zero."""
        return self.zero_gamma


class BigNas(Algorithm):
    """BigNAS bound to a space and a number of epochs. See `BigNasConfig`."""

    def __init__(self, config: BigNasConfig, run: RunConfig, space: SearchSpace) -> None:
        self.config = config
        self.space = space
        self.phases: tuple[Phase, ...] = (Phase.of_whole_run("training", run, space),)

    def plan(self, phase: Phase, position: Position, generator: np.random.Generator) -> Sequence[Pass]:
        """Largest on labels, smallest and random ones on its predictions."""
        config, resolution = self.config, position.resolution
        others = [("smallest", phase.space.smallest(resolution))]
        others += [
            ("random", subnet)
            for subnet in sample_subnets(
                phase.space, config.num_networks - 2, generator, resolution=resolution
            )
        ]
        largest = Pass(role="largest", subnet=phase.space.largest(resolution), aggregation=config.aggregation)
        return [largest] + [
            Pass(
                role=role,
                subnet=subnet,
                hard_labels=0.0,
                soft_labels=1.0,
                source="first pass",
                temperature=config.temperature,
                use_dropout=not config.dropout_on_largest_only,
                aggregation=config.aggregation,
            )
            for role, subnet in others
        ]

"""The smallest subnet first, then the supernet: knowledge is scaled up instead of down.

Our reading of the abstract of SuperFast (Thoma et al., DAC 2025, doi:10.1109/DAC63849.2025.11132779), which
argues against warming up the largest network: a subnet is trained first, its knowledge is distributed within
the supernet, and the supernet's own training follows. What the abstract leaves open is our choice: the subnet
is the smallest; it trains for a share of the epochs; `spread` distributes; the steps after that are BigNAS's
(sandwich rule and in-place distillation), since there is no warmed-up teacher.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces import SearchSpace
from ofa_toolkit.training.algorithm import Algorithm, Pass, Phase, Position
from ofa_toolkit.training.bignas import BigNas, BigNasConfig

if TYPE_CHECKING:
    from ofa_toolkit.training.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class SubnetFirstConfig(BigNasConfig):
    """The smallest subnet first, then the supernet."""

    name: Literal["subnet_first"] = "subnet_first"  # type: ignore[assignment]
    "The smallest subnet first, then the supernet."
    first_share: Annotated[float, Bounds(at_least=0, below=1)] = 0.5
    "Share of the epochs in which only the smallest subnet trains; one is left for the supernet."
    zero_gamma: bool = False
    "Whether the last batch norm of every residual branch starts at zero; blocks that join later do anyway."

    def build(self, run: RunConfig, space: SearchSpace) -> Algorithm:
        """Bind the method to a run.

        Raises:
            ConfigError: The run starts from other weights, which spreading would overwrite.
        """
        if run.init is not None:
            raise ConfigError(
                f"init: the smallest subnet's weights would replace those of '{run.init}'; the method "
                "starts from none."
            )
        return SubnetFirst(self, run, space)


class SubnetFirst(BigNas):
    """Subnet-first bound to a space and a number of epochs. See `SubnetFirstConfig`."""

    def __init__(self, config: SubnetFirstConfig, run: RunConfig, space: SearchSpace) -> None:
        super().__init__(config, run, space)
        [whole] = self.phases
        start = min(round(config.first_share * whole.epochs), whole.epochs - 1)
        if start == 0:
            return
        self.phases = (
            dataclasses.replace(whole, name="smallest subnet", epochs=start, alone="smallest"),
            dataclasses.replace(
                whole,
                name="supernet",
                first_epoch=start,
                epochs=whole.epochs - start,
                spread_from=space.smallest(),
                resets_optimizer=True,
            ),
        )

    def plan(self, phase: Phase, position: Position, generator: np.random.Generator) -> Sequence[Pass]:
        """The smallest alone on labels at first, then as BigNAS."""
        if phase.alone is not None:
            return (Pass(role="smallest", subnet=phase.space.smallest(position.resolution)),)
        return super().plan(phase, position, generator)

"""Fine-tuning of one subnet inside its supernet, for a user whose images differ from the supernet's.

Only the weights the subnet uses change. Running it through the supernet costs next to nothing more than
running it extracted, and the result searches, extracts and exports like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces import SearchSpace, Subnet
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.training.algorithm import Algorithm, AlgorithmConfig, Pass, Phase, Position

if TYPE_CHECKING:
    from ofa_toolkit.training.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class SingleConfig(AlgorithmConfig):
    """One subnet on labels."""

    name: Literal["single"] = "single"
    "Fine-tuning of one subnet."
    subnet: Path | None = None
    "File that describes the subnet; none where the space has a single one."
    architecture: Subnet | None = None
    "The subnet itself, in place of a file: no later change of the file reaches the run."
    kernel_transforms: bool = False
    "Whether the supernet has kernel matrices; must be as in the weights it starts from."

    def __post_init__(self) -> None:
        if self.subnet is not None and self.architecture is not None:
            raise ConfigError("subnet: the subnet is given already, by algorithm.architecture.")

    def build(self, run: RunConfig, space: SearchSpace) -> Algorithm:
        """Bind fine-tuning to a run.

        Raises:
            FileFormatError: The subnet file cannot be read.
            SubnetNotInSpaceError: The subnet is not in the space.
            ConfigError: No subnet is named where there are several.
        """
        return Single(self, run, space)

    @property
    def use_kernel_transforms(self) -> bool:
        """Whether the supernet has kernel matrices."""
        return self.kernel_transforms


class Single(Algorithm):
    """Fine-tuning bound to a space and a number of epochs. See `SingleConfig`."""

    def __init__(self, config: SingleConfig, run: RunConfig, space: SearchSpace) -> None:
        if config.architecture is not None:
            subnet = config.architecture
        elif config.subnet is not None:
            subnet = read_subnet(config.subnet, space).subnet
        elif space.has_one_subnet:
            subnet = space.largest()
        else:
            raise ConfigError(f"algorithm.subnet: missing; '{space.name}' has more than one subnet.")
        space.check(subnet)
        self.only_subnet = subnet
        self._pass = Pass(role="subnet", subnet=subnet)
        self.phases: tuple[Phase, ...] = (Phase.of_whole_run("fine-tuning", run, space),)

    def plan(self, phase: Phase, position: Position, generator: np.random.Generator) -> Sequence[Pass]:  # noqa: ARG002
        """The subnet on labels."""
        return (self._pass,)

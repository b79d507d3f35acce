"""How long is looked for the time of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.requests import Option


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to look."""

    num_passes: Annotated[int, Bounds(at_least=1), Option(name="--passes")] = 3
    "Times everything is gone through; more for busy machines."
    num_rounds: int = 3
    "Bursts of a unit within a pass."
    num_network_rounds: int = 9
    """Bursts of a whole network within a pass. It runs longer, so that it is more often disturbed, and few
    networks decide the correction and the error."""
    burst_ms: float = 25.0
    "Length of a burst; at least 5 and at most 200 runs."
    chunk_size: int = 24
    "Sessions that are loaded at a time."

"""What the lines of a journal of measurements say, as types, from which their schema is made."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from typing_extensions import NotRequired

from ofa_toolkit.core.config_types import Bounds
from ofa_toolkit.core.precision import FloatPrecision
from ofa_toolkit.latency.runtimes.runtime import Processor
from ofa_toolkit.spaces.documents import Count, Duration, Positive
from ofa_toolkit.spaces.space_file import Reference


class HeaderLine(TypedDict):
    """The first line: the conditions that all results share."""

    type: Literal["header"]
    format: Literal["ofa-toolkit/measurements"]
    version: Literal[1]
    space: Reference
    "Name of a registered space, or the table of another one."
    space_identity: str
    num_classes: Positive
    resolutions: list[Positive]
    runtime: str
    runtime_version: str
    device_name: str
    processor: Processor
    num_threads: Positive
    batch_size: Positive
    precision: FloatPrecision
    seed: int
    num_fit: Count
    num_check: Annotated[int, Bounds(at_least=3)]


class StateDocument(TypedDict):
    """A look at the machine; null is what the system does not tell."""

    clock_mhz: float | None
    temperature_c: float | None
    load: float | None


class Bursts(TypedDict):
    """Times of an item."""

    wall_ms: list[Duration]
    "Median of each burst."
    min_ms: Duration
    num_runs: Positive
    cpu_ms: NotRequired[list[Duration]]
    "Processor time, median of each burst, where one thread computes."
    waiting: NotRequired[Annotated[float, Bounds(at_least=0, at_most=1)]]
    "Share of the wall time in which other processes had the processor."


# A class cannot have a field of that name.
_Pass = TypedDict("_Pass", {"pass": Count})


class ResultLine(_Pass, Bursts):
    """An item that was timed in one of the passes."""

    type: Literal["result"]
    item: str
    "`unit`, `fit` or `check`, and which."
    row: NotRequired[list[Count]]
    "The encoded subnet, where it is a whole network."


class ReferenceLine(_Pass, Bursts):
    """The reference network, timed with every chunk."""

    type: Literal["reference"]
    state: StateDocument


MeasurementsLine = HeaderLine | ResultLine | ReferenceLine

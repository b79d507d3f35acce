"""What a foreign file of measurements boils down to: timed whole networks, or times of a space's units."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.precision import Precision
from ofa_toolkit.core.requests import Option
from ofa_toolkit.latency.device import Kind
from ofa_toolkit.spaces import SearchSpace, Subnet

_KINDS: Mapping[str, Kind] = {"tensorrt": "gpu"}
"""Kinds of devices that a runtime tells."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Under which conditions something was timed; None where the file does not say."""

    runtime: Annotated[str | None, Option(metavar="NAME")] = None
    "What executed the networks, such as tensorrt."
    runtime_version: Annotated[str | None, Option(metavar="TEXT")] = None
    "Version of the runtime."
    precision: Annotated[Precision | None, Option()] = None
    "Arithmetic of the networks: fp32, fp16 or int8."
    batch_size: Annotated[int | None, Bounds(at_least=1), Option()] = None
    "Images in a run of the network."
    clocks: Annotated[str | None, Option(metavar="TEXT")] = None
    "Power mode and clocks."
    power_mode: str | None = None
    "Name of the power mode, such as `MAXN`, or of the frequency governor."
    threads: int | None = None
    "CPU threads."
    processor: str | None = None
    "Name of the chip, as its system gives it."

    @property
    def kind(self) -> Kind:
        """Kind of a device of which no more is known."""
        return _KINDS.get(self.runtime or "", "cpu")

    def completed(self, given: Conditions) -> Conditions:
        """These conditions, with `given` where the file is silent.

        Raises:
            FileFormatError: Both say something and they differ.
        """
        values = dataclasses.asdict(self)
        for name, value in dataclasses.asdict(given).items():
            if value is None:
                continue
            if values[name] is not None and values[name] != value:
                raise FileFormatError(
                    f"The measurements say {name} = {values[name]}; the options say {value}.",
                    hint=f"Leave out --{name.replace('_', '-')}.",
                )
            values[name] = value
        return Conditions(**values)


@dataclass(frozen=True, kw_only=True)
class MeasuredNetwork:
    """A subnet and its time.

    Attributes:
        subnet: A member of the space.
        latency_ms: Median over the runs, of a whole batch.
        spread: Interquartile range of the runs relative to the median; None if unknown.
        num_runs: Number of runs; None if unknown.
    """

    subnet: Subnet
    latency_ms: float
    spread: float | None = None
    num_runs: int | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkMeasurements:
    """Timed whole networks of one space."""

    space: SearchSpace
    networks: tuple[MeasuredNetwork, ...]
    conditions: Conditions
    target: str | None = None
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UnitMeasurements:
    """Times of units of one space, by `signature.unit_signature`.

    Attributes:
        by_resolution: The same where they were timed with networks of one input size (pixels) each.
        num_missing: Units of the space that were not found.
        bias_ms: Time of a network that belongs to no unit.
    """

    space: SearchSpace
    times_ms: Mapping[str, float]
    num_missing: int
    conditions: Conditions
    by_resolution: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    bias_ms: float = 0.0
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImportContext:
    """What the user says beside the file.

    Attributes:
        space: Search space of the subnets; None where the file tells.
        subnets: Subnets the files belong to, in their order.
        conditions: Conditions of the measurement.
    """

    space: SearchSpace | None = None
    subnets: tuple[Subnet, ...] = ()
    conditions: Conditions = field(default_factory=Conditions)

    def required_space(self, kind: str) -> SearchSpace:
        """The space, or an error that says it must be given."""
        if self.space is None:
            raise FileFormatError(
                f"{kind} does not say which search space it belongs to.", hint="Add --space NAME."
            )
        return self.space


def positive_number(value: Any, where: str) -> float:
    """A finite positive time.

    Raises:
        FileFormatError: It is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise FileFormatError(f"{where}: '{value}' is not a number.") from None
    if not 0 < number < float("inf"):
        raise FileFormatError(f"{where}: {value} is not a positive time.")
    return number

"""What a user asks a search for: parameters of `find_subnet` and `find_front`, options of `ofa-tk search`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from ofa_toolkit.core import quantities
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.quantities import QuantityKind, counted
from ofa_toolkit.core.requests import Option
from ofa_toolkit.zoo.supernet import SupernetLike

Method = Literal["evolution", "random", "exhaustive"]
Limit = str | float | None
"""A text with a unit (`"20ms"`, `"200M"`, `"500/s"`, `"8MB"`, `"75%"`), or a number in the base unit."""
Limits = Limit | Sequence[str | float]


@dataclass(frozen=True, kw_only=True)
class DeviceRequest:
    """A device and what is asked of it.

    Attributes:
        name: `device` or `device:variant`.
        latency_ms: Longest time of a batch, or None.
        throughput: Least images per second, or None.
    """

    name: str
    latency_ms: float | None = None
    throughput: float | None = None


@dataclass(frozen=True)
class SearchRequest:
    """Everything that decides a search. Limits are texts with a unit or numbers in the base unit."""

    supernet: Annotated[SupernetLike | None, Option(metavar="NAME|DIR")] = None
    "Supernet whose space and accuracy predictor are used. Default: OFA's MobileNetV3 w1.0."
    _: KW_ONLY
    space: Annotated[str | None, Option(metavar="NAME|FILE.toml")] = None
    "Search space, where no supernet is named, or the part of the supernet's to search."
    predictor: Annotated[str | os.PathLike[str] | None, Option(metavar="FILE", path="file")] = None
    "Another accuracy predictor than the supernet's."
    device: Annotated[str | Sequence[str], Option(metavar="NAME[:VARIANT]", is_repeatable=True)] = ()
    "A device with a latency table, or several."
    latency: Annotated[Limits, Option(metavar="TIME", quantity=quantities.LATENCY, is_repeatable=True)] = None
    "Longest time of a batch in ms, such as 20ms. One for all devices, or one each in their order."
    throughput: Annotated[
        Limits, Option(metavar="RATE", quantity=quantities.THROUGHPUT, is_repeatable=True)
    ] = None
    "Least images per second, such as 500/s; for a variant that has a batch. As many as of latency."
    macs: Annotated[Limit, Option(metavar="COUNT", quantity=quantities.MACS)] = None
    "Most multiply-accumulates of one image, such as 200M."
    params: Annotated[Limit, Option(metavar="COUNT", quantity=quantities.PARAMS)] = None
    "Most parameters, such as 5M."
    memory: Annotated[Limit, Option(metavar="SIZE", quantity=quantities.MEMORY)] = None
    "Most bytes of live activations of one image, such as 4MB, in the first device's precision or fp32."
    accuracy: Annotated[Limit, Option(metavar="SHARE", quantity=quantities.PERCENT)] = None
    "Least predicted top-1 in percent, such as 75%."
    minimize: Annotated[str | None, Option(metavar="FIGURE")] = None
    "Make latency[:DEVICE], macs, params or memory small, instead of the accuracy large."
    maximize: Annotated[Literal["accuracy", "macs"], Option()] = "accuracy"
    "What to make large; MACs need no accuracy predictor."
    fix: Annotated[
        Mapping[str, float | Sequence[float]], Option(metavar="NAME=VALUE", is_repeatable=True)
    ] = field(default_factory=dict)
    "Allowed values by choice (resolution, depth, kernel_size, expand_ratio), such as resolution=160."
    maximum: Annotated[
        Mapping[str, float], Option(name="--max", metavar="NAME=VALUE", is_repeatable=True)
    ] = field(default_factory=dict)
    "Largest value by choice, such as kernel_size=5."
    minimum: Annotated[
        Mapping[str, float], Option(name="--min", metavar="NAME=VALUE", is_repeatable=True)
    ] = field(default_factory=dict)
    "Smallest value by choice, such as depth=3."
    confidence: Annotated[float | None, Bounds(above=0, below=1), Option(metavar="SHARE")] = None
    "Keep latency below the limit with this probability, such as 0.9, not on average."
    method: Annotated[Method, Option()] = "evolution"
    "How to search; random and exhaustive search are baselines."
    effort: Mapping[str, Any] = field(default_factory=dict)
    "Fields of `EvolutionConfig`, such as num_generations."
    seed: Annotated[int, Bounds(at_least=0), Option()] = 0
    "Start of all random streams; equal seeds give equal answers."
    tables: Annotated[
        Sequence[str | os.PathLike[str]], Option(metavar="DIR", path="input folder", is_repeatable=True)
    ] = ()
    "Further folders of latency tables."
    num_best: Annotated[int, Bounds(at_least=1)] = 8
    "How many of the best subnets are described: the chosen one and the runners-up."

    @property
    def objective(self) -> str:
        """The figure that is made large, or small where `minimize` names one."""
        return self.minimize or self.maximize

    @property
    def table_folders(self) -> tuple[Path, ...]:
        """Further folders of latency tables."""
        return tuple(Path(folder) for folder in self.tables)

    @property
    def devices(self) -> tuple[DeviceRequest, ...]:
        """Devices with their limits: one limit for all, or one each in order.

        Raises:
            ConfigError: A limit without a device, or neither one limit nor one per device.
        """
        names = [self.device] if isinstance(self.device, str) else list(self.device)
        latencies = _per_device("latency", quantities.LATENCY, self.latency, names)
        throughputs = _per_device("throughput", quantities.THROUGHPUT, self.throughput, names)
        return tuple(
            DeviceRequest(name=name, latency_ms=most, throughput=least)
            for name, most, least in zip(names, latencies, throughputs, strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class FrontRequest(SearchRequest):
    """A search for all subnets that no other one beats in accuracy and all costs; it minimises them all."""

    against: Annotated[str | Sequence[str], Option(metavar="FIGURE", is_repeatable=True)] = ()
    "Its costs: latency[:DEVICE], macs, params, memory. Default: latency on the first device, or macs."

    @property
    def costs(self) -> tuple[str, ...]:
        """Names of the costs."""
        given = (self.against,) if isinstance(self.against, str) else tuple(self.against)
        return given or (("latency",) if self.devices else ("macs",))


def in_base_unit(kind: QuantityKind, value: Limit) -> float | None:
    """A limit as a number.

    Raises:
        QuantityError: A text cannot be read.
    """
    return kind.parse(value) if isinstance(value, str) else value


def _per_device(subject: str, kind: QuantityKind, given: Limits, names: Sequence[str]) -> list[float | None]:
    values = [given] if given is None or isinstance(given, str | int | float) else list(given)
    parsed = [in_base_unit(kind, value) for value in values]
    if parsed in ([None], []):
        return [None] * len(names)
    if not names:
        raise ConfigError(f"A limit on {subject} needs a device.", hint="Name one: --device jetson-nano")
    if len(parsed) not in (1, len(names)):
        raise ConfigError(
            f"{counted(len(parsed), 'limit')} on {subject} for {counted(len(names), 'device')}; give one, or "
            "one each in order."
        )
    return parsed * len(names) if len(parsed) == 1 else parsed

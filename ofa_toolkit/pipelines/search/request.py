"""What a user asks a search for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ofa_toolkit.zoo.supernet import LoadedSupernet


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


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Everything that decides a search but its effort.

    Attributes:
        supernet: Whose space and accuracy predictor are used; None for the space alone.
        space: Name of the search space; None takes the supernet's.
        predictor: File of another accuracy predictor.
        devices: Devices, with or without limits; the first is the one `latency` refers to.
        macs: Most multiply-accumulates of one image.
        params: Most parameters.
        memory_bytes: Most bytes of live activations of one image, in the first device's precision or fp32.
        accuracy: Least predicted top-1 in percent.
        minimize: What to make small instead of making the accuracy large: latency, macs, params or memory.
        maximize: What to make large: accuracy, or macs, for which no accuracy predictor is needed.
        fix, maximum, minimum: Limits on the choices, such as `{"resolution": (160,)}`, `{"kernel_size": 5}`.
        confidence: Require latencies below the table's bound at this level instead of the prediction.
        tables: Further folders of latency tables.
    """

    supernet: LoadedSupernet | None = None
    space: str | None = None
    predictor: Path | None = None
    devices: tuple[DeviceRequest, ...] = ()
    macs: float | None = None
    params: float | None = None
    memory_bytes: float | None = None
    accuracy: float | None = None
    minimize: str | None = None
    maximize: str = "accuracy"
    fix: Mapping[str, Sequence[float]] = field(default_factory=dict)
    maximum: Mapping[str, float] = field(default_factory=dict)
    minimum: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    tables: tuple[Path, ...] = ()

    @property
    def objective(self) -> str:
        """The figure that is made large, or small where `minimize` names one."""
        return self.minimize or self.maximize

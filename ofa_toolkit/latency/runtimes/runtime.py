"""The protocol of timing runtimes, and what they share."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.core.precision import FloatPrecision
from ofa_toolkit.core.requests import Option, Positive
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, LayerSpec

Times = npt.NDArray[np.float64]
Processor = Literal["cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """Conditions of a measurement."""

    processor: Annotated[Processor, Option()] = "cpu"
    "Processor that the networks run on."
    num_threads: Annotated[int, Bounds(at_least=1), Option(name="--threads")] = 1
    "CPU threads; GPU runtimes ignore them."
    batch_size: Positive = 1
    "Images in a run of the network."
    precision: Annotated[FloatPrecision, Option()] = "fp32"
    "Arithmetic of the networks: fp32 or fp16."


@dataclass(frozen=True, kw_only=True)
class RunTimes:
    """Times of consecutive runs, each waited for.

    Attributes:
        wall_ms: By the clock, or between GPU events, `(runs,)`.
        cpu_ms: Processor time of the thread that computes, `(runs,)`; None where several do, or a GPU.
            It equals the wall time on an idle machine and leaves out what other processes took.
    """

    wall_ms: Times
    cpu_ms: Times | None = None

    @property
    def own_ms(self) -> Times:
        """The times that other processes disturb least."""
        return self.wall_ms if self.cpu_ms is None else self.cpu_ms


class Session(Protocol):
    """A network that is ready to run."""

    def time_runs(self, num_runs: int) -> RunTimes:
        """Run that many times, one after another, and wait for each."""
        ...


class Runtime(Protocol):
    """Makes sessions. The constructor takes `RuntimeOptions` and refuses what it cannot do.

    Attributes:
        name: Name in device files, such as `pytorch`.
        version: Version of the library.
        options: The conditions.
        device_name: The processor as the system calls it.
    """

    name: ClassVar[str]
    version: str
    options: RuntimeOptions
    device_name: str

    def __init__(self, options: RuntimeOptions) -> None: ...

    def prepare(self, layers: Sequence[LayerSpec], seed: int) -> Session:
        """Load a network or a part of one with random weights and random inputs.

        Args:
            layers: With a single input from outside, see `isolate`.
            seed: Start of weights and inputs; they do not matter for the time.
        """
        ...


def isolate(layers: Sequence[LayerSpec]) -> tuple[LayerSpec, ...]:
    """A part of a network as a network of its own: what it reads from outside becomes `input`.

    Raises:
        MeasurementError: It reads more than one thing from outside.
    """
    own = {layer.name for layer in layers}
    outside = {name for layer in layers for name in layer.inputs if name not in own}
    if len(outside) != 1:
        raise MeasurementError(f"A part with {len(outside)} inputs cannot be timed on its own.")
    return tuple(
        dataclasses.replace(
            layer, inputs=tuple(name if name in own else NETWORK_INPUT for name in layer.inputs)
        )
        for layer in layers
    )


def input_shape(layers: Sequence[LayerSpec], batch_size: int) -> tuple[int, int, int, int]:
    """Shape `(N, C, S, S)` that the first layer reads."""
    return (batch_size, layers[0].in_channels, layers[0].in_size, layers[0].in_size)


def time_calls(run: Callable[[], object], num_runs: int, *, is_one_thread: bool) -> RunTimes:
    """Time blocking calls, by the clock and, where one thread does all the work, by its processor time."""
    wall, cpu = np.empty(num_runs), np.empty(num_runs)
    for index in range(num_runs):
        cpu_start, start = time.thread_time_ns(), time.perf_counter_ns()
        run()
        wall[index] = time.perf_counter_ns() - start
        cpu[index] = time.thread_time_ns() - cpu_start
    return RunTimes(wall_ms=wall * 1e-6, cpu_ms=cpu * 1e-6 if is_one_thread else None)

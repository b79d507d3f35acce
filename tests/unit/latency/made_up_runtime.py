"""A runtime whose times follow a known law, so that what measuring makes of them can be checked exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.latency.runtimes import RuntimeOptions, RunTimes
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import unit_of

CALL_MS = 0.02
GAP_MS = 0.005
COLD_MS_PER_MEGABYTE = 0.4


def true_ms(layers: Sequence[LayerSpec]) -> float:
    """A part on its own pays for the call; a whole network for gaps and for reading its weights cold."""
    work = 1e-6 * count_macs(layers) + 0.003
    units = {unit_of(layer.name) for layer in layers}
    if len(units) == 1:
        return CALL_MS + work
    cold = COLD_MS_PER_MEGABYTE * 4e-6 * count_params(layers)
    return work + (len(units) - 1) * 0.003 + len(units) * GAP_MS + cold


class MadeUpRuntime:
    """Counts what it prepares; stops like a killed process after `fails_after` of them."""

    name: ClassVar[str] = "made-up"
    version = "1"

    def __init__(self, options: RuntimeOptions | None = None, *, noise: float = 0.0) -> None:
        self.options = options or RuntimeOptions()
        self.device_name = "Made-Up CPU"
        self.noise = noise
        self.fails_after: int | None = None
        self.prepared: list[tuple[LayerSpec, ...]] = []
        self._generator = np.random.default_rng(0)

    def prepare(self, layers: Sequence[LayerSpec], seed: int) -> MadeUpSession:
        del seed
        if self.fails_after is not None and len(self.prepared) >= self.fails_after:
            raise KeyboardInterrupt
        self.prepared.append(tuple(layers))
        return MadeUpSession(true_ms(layers), self.noise, self._generator)


class MadeUpSession:
    def __init__(self, time_ms: float, noise: float, generator: np.random.Generator) -> None:
        self._time_ms, self._noise, self._generator = time_ms, noise, generator

    def time_runs(self, num_runs: int) -> RunTimes:
        own = self._time_ms * (1 + self._noise * np.abs(self._generator.standard_normal(num_runs)))
        return RunTimes(wall_ms=1.25 * own, cpu_ms=own)

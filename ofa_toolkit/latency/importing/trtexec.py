"""JSON that `trtexec` exports: times of every run of one network, or the profile of its layers.

Sources: `exportJSONTrace` and `exportJSONProfile` in `samples/common/sampleReporting.cpp` of
github.com/NVIDIA/TensorRT (8.2 to 11). Times are objects with `computeMs` (the time of the kernels);
profiles start with `{"count": N}`, then come objects with `name`, `timeMs`, `averageMs`, `percentage` and,
from 8.4 on, `medianMs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_toolkit.core import documents
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.latency.importing.measurements import (
    Conditions,
    ImportContext,
    MeasuredNetwork,
    NetworkMeasurements,
    UnitMeasurements,
    positive_number,
)
from ofa_toolkit.latency.kit.board.trtexec import parse_times
from ofa_toolkit.latency.measuring.measured_table import unit_items
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.spaces import Subnet, lower
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import unit_of

_WARM_UP_MS = 200
"""How long trtexec warms up unless told otherwise; exported times hold these runs too."""

_PROFILER_CAVEAT = (
    "Times of layers under the profiler, which prevents overlap; "
    "only units of the profiled networks are covered."
)


def read_times(paths: Sequence[Path], context: ImportContext) -> NetworkMeasurements:
    """Read `--exportTimes` files, one per subnet."""
    space = context.required_space("A file of trtexec")
    networks = []
    for path, subnet in zip(paths, subnets_of(len(paths), context), strict=True):
        text = json.dumps(read_json(path))
        with documents.damage_explained(f"'{path}'"):
            runs = [positive_number(time, f"'{path}'") for time in parse_times(text, _WARM_UP_MS)]
        if not runs:
            raise FileFormatError(f"'{path}' holds no 'computeMs': it is no file of trtexec --exportTimes.")
        low, middle, high = np.percentile(runs, [25, 50, 75])
        networks.append(
            MeasuredNetwork(
                subnet=subnet,
                latency_ms=float(middle),
                spread=float((high - low) / middle),
                num_runs=len(runs),
            )
        )
    conditions = Conditions(runtime="tensorrt").completed(context.conditions)
    return NetworkMeasurements(space=space, networks=tuple(networks), conditions=conditions)


def read_profiles(paths: Sequence[Path], context: ImportContext) -> UnitMeasurements:
    """Read `--exportProfile` files, one per subnet, of networks that this toolkit wrote.

    Our graphs name nodes after layers, and TensorRT names fused layers after nodes, so each row belongs to
    the unit of the first layer it names; copies and reformats at the borders belong to no unit.
    """
    space = context.required_space("A file of trtexec")
    seen: dict[str, list[float]] = {}
    rest: list[float] = []
    for path, subnet in zip(paths, subnets_of(len(paths), context), strict=True):
        layers = lower(space, subnet)
        with documents.damage_explained(f"'{path}'"):
            by_unit, outside = _attribute(path, layers)
        rest.append(outside)
        for unit, time_ms in by_unit.items():
            own = [layer for layer in layers if unit_of(layer.name) == unit]
            seen.setdefault(unit_signature(own), []).append(time_ms)
    signatures = {unit_signature(item.layers) for item in unit_items(space)}
    return UnitMeasurements(
        space=space,
        times_ms={signature: float(np.median(times)) for signature, times in seen.items()},
        num_missing=len(signatures - set(seen)),
        bias_ms=float(np.median(rest)),
        conditions=Conditions(runtime="tensorrt").completed(context.conditions),
        caveats=(_PROFILER_CAVEAT,),
    )


def is_times(document: Any) -> bool:
    """Whether parsed JSON holds times of runs."""
    return isinstance(document, list) and any(
        isinstance(entry, dict) and "computeMs" in entry for entry in document
    )


def is_profile(document: Any) -> bool:
    """Whether parsed JSON is a profile."""
    return (
        isinstance(document, list)
        and len(document) > 1
        and all(isinstance(entry, dict) for entry in document[:2])
        and "count" in document[0]
        and "averageMs" in document[1]
    )


def read_json(path: Path) -> list[Mapping[str, Any]]:
    """A JSON list of objects."""
    document = documents.read_json(path)
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise FileFormatError(f"'{path}' is no file that trtexec exports: it holds no list of objects.")
    return document


def subnets_of(num_networks: int, context: ImportContext) -> tuple[Subnet, ...]:
    """The subnets that networks timed by trtexec are.

    Raises:
        FileFormatError: There are fewer or more of them.
    """
    if len(context.subnets) != num_networks:
        raise FileFormatError(
            f"{counted(num_networks, 'network')} timed by trtexec, "
            f"{counted(len(context.subnets), 'subnet')}; each needs its own.",
            hint="Add --subnet subnet.json once for every network, in their order.",
        )
    return context.subnets


def _attribute(path: Path, layers: Sequence[LayerSpec]) -> tuple[dict[str, float], float]:
    """Time (ms) of each unit in a profile, and of what belongs to none."""
    rows = read_json(path)
    if not is_profile(rows):
        raise FileFormatError(f"'{path}' is no profile of trtexec --exportProfile.")
    names = sorted((layer.name for layer in layers), key=len, reverse=True)
    by_unit: dict[str, float] = {}
    outside = 0.0
    for row in rows[1:]:
        time_ms = float(row.get("medianMs", row["averageMs"]))
        owner = _owner(str(row["name"]), names)
        if owner is None:
            outside += time_ms
        else:
            unit = unit_of(owner)
            by_unit[unit] = by_unit.get(unit, 0.0) + time_ms
    expected = {unit_of(layer.name) for layer in layers}
    if set(by_unit) != expected:
        missing = sorted(expected - set(by_unit))
        raise FileFormatError(
            f"'{path}' names no layer of unit '{missing[0]}': it is a profile of another network.",
            hint="Profile a network that `ofa-tk export` or a kit wrote, and give its --subnet.",
        )
    return by_unit, outside


def _owner(row: str, names: Sequence[str]) -> str | None:
    """The layer a profile row names first; the longest name where several start at the same place."""
    found = [(row.find(name), -len(name), name) for name in names if name in row]
    return min(found)[2] if found else None

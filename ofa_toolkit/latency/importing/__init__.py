"""Reading measurements that others made: results of a kit, and files of other tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ofa_toolkit.core.registry import Registry
from ofa_toolkit.latency.importing.detection import detect_format
from ofa_toolkit.latency.importing.measurements import (
    Conditions,
    ImportContext,
    MeasuredNetwork,
    NetworkMeasurements,
    UnitMeasurements,
)

Reader = Callable[[Sequence[Path], ImportContext], NetworkMeasurements | UnitMeasurements]

READERS: Registry[Reader] = Registry(
    "format of measurements",
    {
        "kit": "ofa_toolkit.latency.importing.kit_results:read_kit_results",
        "ofa-yaml": "ofa_toolkit.latency.importing.ofa_yaml:read_ofa_tables",
        "trtexec-times": "ofa_toolkit.latency.importing.trtexec:read_times",
        "trtexec-profile": "ofa_toolkit.latency.importing.trtexec:read_profiles",
        "trtexec-log": "ofa_toolkit.latency.importing.trtexec_log:read_logs",
        "csv": "ofa_toolkit.latency.importing.networks_csv:read_csv",
    },
)


__all__ = [
    "READERS",
    "Conditions",
    "ImportContext",
    "MeasuredNetwork",
    "NetworkMeasurements",
    "Reader",
    "UnitMeasurements",
    "detect_format",
]

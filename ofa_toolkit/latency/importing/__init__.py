"""Reading measurements that others made: results of a kit, and files of other tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ofa_toolkit.core.documents import read_json
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.registry import Registry
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
        "csv": "ofa_toolkit.latency.importing.networks_csv:read_csv",
    },
)


def detect_format(path: Path) -> str:
    """Name of the reader for a file or folder, by its name and a look inside.

    Raises:
        FileFormatError: It is none of the known ones.
    """
    if path.is_dir() or path.suffix in (".yaml", ".yml"):
        return "ofa-yaml"
    if path.suffix == ".csv":
        return "csv"
    if path.suffix == ".jsonl":
        return "kit"
    if path.suffix == ".json":
        from ofa_toolkit.latency.importing.trtexec import is_profile

        return "trtexec-profile" if is_profile(read_json(path)) else "trtexec-times"
    raise FileFormatError(
        f"'{path}' is of no known format.", hint=f"Name it with --format: {', '.join(READERS)}."
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

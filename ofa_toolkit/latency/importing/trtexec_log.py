"""What `trtexec` prints: the summary of one network, or of several in one log.

TensorRT 8.0 and later print `GPU Compute Time: min = 4.9 ms, max = ..., median = ...`; 7 prints a block `GPU
Compute` with `median: 4.9 ms` on a line of its own (`samples/common/sampleReporting.cpp` of
github.com/NVIDIA/TensorRT, releases 7.1 to 10). The banner tells the version, the listing of options above
it precision and GPU, the bindings the batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ofa_toolkit.core.documents import damage_explained, read_text
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.precision import Precision
from ofa_toolkit.latency.importing.measurements import (
    Conditions,
    ImportContext,
    MeasuredNetwork,
    NetworkMeasurements,
    positive_number,
)
from ofa_toolkit.latency.importing.trtexec import subnets_of
from ofa_toolkit.latency.kit.back_ends import dotted_version
from ofa_toolkit.latency.kit.board.trtexec import parse_summary
from ofa_toolkit.spaces import Subnet

_BANNER = "&&&& RUNNING TensorRT.trtexec"
_SEVEN = re.compile(r"\] GPU Compute\s*\n(?:.*\n){0,5}?.*\] median: ([\d.eE+-]+) ms")
_PRECISIONS: tuple[Precision, ...] = ("int8", "fp16", "bf16", "fp32")


def read_logs(paths: Sequence[Path], context: ImportContext) -> NetworkMeasurements:
    """Read logs; each network in them, in their order, needs its subnet.

    Raises:
        FileFormatError: A log holds no summary, runs differ in their conditions, or subnets are missing.
    """
    space = context.required_space("A log of trtexec")
    runs = [(path, run) for path in paths for run in _runs(path)]
    conditions, networks = context.conditions, []
    for (path, run), subnet in zip(runs, subnets_of(len(runs), context), strict=True):
        with damage_explained(f"'{path}'"):
            conditions, network = _measured(path, run, subnet, conditions)
        networks.append(network)
    return NetworkMeasurements(space=space, networks=tuple(networks), conditions=conditions)


def _measured(path: Path, run: str, subnet: Subnet, known: Conditions) -> tuple[Conditions, MeasuredNetwork]:
    median = _median(run)
    if median is None:
        raise FileFormatError(
            f"'{path}' holds no 'GPU Compute Time': the run failed, or was not timed.",
            hint="Leave it out, and the --subnet that belongs to it.",
        )
    queries = re.search(r"Timing trace has (\d+) queries", run)
    network = MeasuredNetwork(
        subnet=subnet,
        latency_ms=positive_number(median, f"'{path}'"),
        num_runs=int(queries[1]) if queries else None,
    )
    return _conditions(run).completed(known), network


def is_log(text: str) -> bool:
    """Whether a text is what trtexec prints."""
    return _BANNER in text or _median(text) is not None


def _runs(path: Path) -> list[str]:
    """A log cut at the banners, what stands before the first one belonging to it."""
    text = read_text(path, fallback="cp1252")
    parts = re.split(rf"(?m)^(?=.*{re.escape(_BANNER)})", text)
    runs = [part for part in parts if _BANNER in part or _median(part) is not None]
    if not runs:
        raise FileFormatError(f"'{path}' is no log of trtexec: it holds no 'GPU Compute Time'.")
    return runs


def _median(text: str) -> str | float | None:
    summary = parse_summary(text)
    if summary is not None:
        return float(summary["median_ms"])
    match = _SEVEN.search(text)
    return match[1] if match else None


def _conditions(run: str) -> Conditions:
    version = re.search(r"TensorRT\.trtexec \[TensorRT v(\d+)\]", run)
    listed = re.search(r"\] Precision: ([A-Z0-9+]+)", run)
    marks = listed[1].split("+") if listed else []
    device = re.search(r"\] Selected Device: (.+)", run)
    batches = set(re.findall(r"[Ii]nput binding for \S+ (?:with dimensions|is) (\d+)x", run))
    return Conditions(
        runtime="tensorrt",
        runtime_version=dotted_version(version[1]) if version else None,
        precision=next((name for name in _PRECISIONS if name.upper() in marks), None),
        batch_size=int(batches.pop()) if len(batches) == 1 else None,
        processor=device[1].strip() if device else None,
    )

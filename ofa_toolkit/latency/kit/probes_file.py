"""`probes.json`: subnets to measure on a device, and what they took."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core import files
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.documents import damage_explained, read_object
from ofa_toolkit.core.errors import FileFormatError, OfaToolkitError, OutputError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.spaces import Encoding
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.space_file import space_from_reference, space_reference
from ofa_toolkit.spaces.subnet_file import subnet_document, subnet_from_document

if TYPE_CHECKING:
    from ofa_toolkit.latency.kit.documents import ProbeDocument, ProbesDocument

FORMAT = FileFormat("ofa-toolkit/latency-probes", 1, "a probes file")


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Subnets of one space with their latencies.

    Attributes:
        space: Search space of the probes.
        population: Encoded, `(N, genes)`.
        latencies_ms: Times of a whole batch, `(N,)`; NaN where not measured yet.
    """

    space: SearchSpace
    population: Population
    latencies_ms: npt.NDArray[np.float64]

    def measured(self) -> Probes:
        """Those that were measured."""
        done = np.isfinite(self.latencies_ms)
        return Probes(
            space=self.space, population=self.population[done], latencies_ms=self.latencies_ms[done]
        )


def write_probes(path: str | os.PathLike[str], probes: Probes) -> None:
    """Write probes atomically; latencies not measured yet become null."""
    subnets = Encoding(probes.space).decode(probes.population)
    entries: list[ProbeDocument] = [
        {**subnet_document(subnet), "latency_ms": None if math.isnan(latency) else float(latency)}
        for subnet, latency in zip(subnets, probes.latencies_ms, strict=True)
    ]
    document: ProbesDocument = {
        "space": space_reference(probes.space),
        "num_classes": probes.space.num_classes,
        "probes": entries,
    }
    files.write_json(path, {**FORMAT.header, **document})


def check_no_times(path: Path) -> None:
    """Raise `OutputError` for a probes file with times in it, which somebody measured and filled in."""
    try:
        has_times = bool(len(read_probes(path).measured().population))
    except OfaToolkitError:
        return  # Missing, or no such file: others judge that.
    if has_times:
        raise OutputError(
            f"'{path}' holds times that were filled in; they would be lost.",
            hint="Name another path with --out, or add --force.",
        )


def read_probes(path: str | os.PathLike[str]) -> Probes:
    """Read probes.

    Raises:
        FileFormatError: Not such a file; names the first bad entry.
        SubnetNotInSpaceError: A subnet is not in the space.
    """
    document = _load(Path(path))
    space = space_from_reference(document["space"])
    with damage_explained(f"'{path}'"):
        space = space.with_num_classes(operator.index(document.get("num_classes", space.num_classes)))
    subnets, latencies = [], []
    for number, entry in enumerate(_entries(document, path), start=1):
        latency = entry.get("latency_ms")
        is_number = isinstance(latency, (int, float)) and not isinstance(latency, bool)
        if latency is not None and not (is_number and math.isfinite(latency) and latency > 0):
            raise FileFormatError(
                f"'{path}', probe {number}: latency_ms is '{latency}', not a positive number."
            )
        subnet = subnet_from_document({key: entry[key] for key in ("resolution", "stages") if key in entry})
        space.check(subnet)
        subnets.append(subnet)
        latencies.append(math.nan if latency is None else float(latency))
    return Probes(space=space, population=Encoding(space).encode(subnets), latencies_ms=np.array(latencies))


def _load(path: Path) -> dict[str, Any]:
    if path.suffix == ".jsonl":
        read = command_line("latency", "import", path)
        raise FileFormatError(f"'{path}' is no probes file.", hint=f"`{read}` reads the results of a kit.")
    plan = "`ofa-tk latency calibrate --plan 10 --space NAME` writes a file to fill in."
    document = read_object(path, FORMAT.what, hint=plan)
    FORMAT.check(document, f"'{path}'")
    if "space" not in document:
        raise FileFormatError(f"'{path}' names no space.", hint=plan)
    return document


def _entries(document: dict[str, Any], path: str | os.PathLike[str]) -> Sequence[dict[str, Any]]:
    entries = document.get("probes")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FileFormatError(f"'{path}' holds no list of probes.")
    return entries

"""Results of a measuring kit: JSON lines, any prefix of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofa_toolkit.core.documents import damage_explained
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.journal import Journal
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.latency.importing.measurements import (
    Conditions,
    ImportContext,
    MeasuredNetwork,
    NetworkMeasurements,
    positive_number,
)
from ofa_toolkit.latency.kit.back_ends import BACK_ENDS
from ofa_toolkit.latency.kit.board.journal import FIXED_CONDITIONS, FORMAT_VERSION, RESULTS_FORMAT
from ofa_toolkit.spaces.space_file import space_from_reference
from ofa_toolkit.spaces.subnet_file import read_subnet, stated_space

_DRIFT_SEEN = 0.05


def read_kit_results(paths: Sequence[Path], context: ImportContext) -> NetworkMeasurements:
    """Read one results file of a kit; a torn last line and failed networks are left out.

    Raises:
        FileFormatError: It is no such file, or holds no result.
        MismatchError: The networks are of another space than the context's.
    """
    if len(paths) != 1:
        raise FileFormatError("Results of a kit are imported one file at a time.")
    path = paths[0]
    with damage_explained(f"'{path}'"):
        return _read(path, context)


def _read(path: Path, context: ImportContext) -> NetworkMeasurements:
    journal = Journal(path)
    sessions = journal.of_type("session")
    if not sessions or sessions[0].get("format") != RESULTS_FORMAT:
        raise FileFormatError(f"'{path}' holds no results of a measuring kit.")
    if sessions[0].get("version") != FORMAT_VERSION:
        raise FileFormatError(f"'{path}' is of version {sessions[0].get('version')}, not {FORMAT_VERSION}.")
    session = sessions[0]
    for other in sessions[1:]:
        for name in FIXED_CONDITIONS:
            if other.get(name) != session.get(name):
                raise FileFormatError(
                    f"'{path}' mixes measurements with {name} '{session.get(name)}' and '{other.get(name)}'.",
                    hint="Import the results of each apart.",
                )
    space = space_from_reference(session["space"]).with_num_classes(int(session["num_classes"]))
    networks = []
    for line in journal.of_type("result"):
        where = f"'{path}', network {line.get('probe')}"
        with damage_explained(where):
            subnet = read_subnet(line["subnet"], space).subnet
            latency_ms = positive_number(line["median_ms"], where)
        spread = (line["p75_ms"] - line["p25_ms"]) / latency_ms if "p75_ms" in line else None
        networks.append(
            MeasuredNetwork(
                subnet=subnet, latency_ms=latency_ms, spread=spread, num_runs=line.get("num_runs")
            )
        )
    if not networks:
        raise FileFormatError(
            f"'{path}' holds no result yet.", hint="Run measure.py on the board; it goes on where it stopped."
        )
    if context.space is not None:
        # The space of a trained supernet may have fewer choices than the one that the kit names.
        subnets = [network.subnet for network in networks]
        stated_space(session["space"], context.space, subnets, f"'{path}'")
    return NetworkMeasurements(
        space=space,
        networks=tuple(networks),
        conditions=_conditions(journal, session).completed(context.conditions),
        target=session["target"],
        caveats=_caveats(journal),
    )


def _conditions(journal: Journal, session: dict[str, Any]) -> Conditions:
    board = session.get("board", {})
    results = journal.of_type("result")
    version = session.get("backend_version") or next((r.get("version") for r in results), None)
    details = [
        f"power mode {board['power_mode']}" if board.get("power_mode") else None,
        f"CPU governor {board['governors']}" if board.get("governors") else None,
        f"GPU {board['gpu']}" if board.get("gpu") else None,
        "CUDA graphs" if session.get("cuda_graph") else None,
    ]
    known = "; ".join(detail for detail in details if detail)
    threads = next(
        (int(a.partition("=")[2]) for a in session.get("arguments", []) if a.startswith("threads=")), None
    )
    back_end = BACK_ENDS.get(session["backend"])
    return Conditions(
        runtime=session["backend"] if back_end is None else back_end.runtime,
        runtime_version=version if back_end is None else back_end.version(version),
        precision=session["precision"],
        batch_size=int(session["batch_size"]),
        clocks=known or None,
        power_mode=board.get("power_mode") or board.get("governors"),
        threads=threads,
        processor=board.get("gpu") or board.get("model") or board.get("cpu"),
    )


def is_kit_results(path: Path) -> bool:
    """Whether a file is what `measure.py` of a kit writes."""
    sessions = Journal(path).of_type("session")
    return bool(sessions) and sessions[0].get("format") == RESULTS_FORMAT


def _caveats(journal: Journal) -> tuple[str, ...]:
    caveats = []
    failures = {line["probe"] for line in journal.of_type("failure")}
    failures -= {line["probe"] for line in journal.of_type("result")}
    if failures:
        caveats.append(f"{counted(len(failures), 'network')} of the kit could not be timed.")
    first = {line["probe"]: line["median_ms"] for line in journal.of_type("result")}
    again = [
        line["median_ms"] / first[line["probe"]]
        for line in journal.of_type("reference")
        if "median_ms" in line and line.get("probe") in first
    ]
    drift = max((abs(ratio - 1) for ratio in again), default=0.0)
    if drift > _DRIFT_SEEN:
        caveats.append(f"A reference network that was timed again differed by up to {drift:.0%}.")
    return tuple(caveats)

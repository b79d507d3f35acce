"""Timing many small things one after another so that drift and neighbours do the least harm.

Items (units of a space, whole subnets) are timed in bursts. A pass shuffles all items and takes them in
chunks; within a chunk every item's session is loaded and bursts go round, so that what is compared was
timed close together, and each item is seen in several passes, far apart. The estimate of an item is its
quietest burst: the smallest of the bursts' medians. Every result is one line of a journal, written when
its chunk is done; a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.core.journal import Journal
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.latency.measuring.effort import Effort
from ofa_toolkit.latency.measuring.system import system_state
from ofa_toolkit.latency.runtimes import Runtime, Session
from ofa_toolkit.latency.runtimes.runtime import RunTimes
from ofa_toolkit.spaces.layer_spec import LayerSpec

if TYPE_CHECKING:
    from ofa_toolkit.latency.measuring.documents import Bursts

FORMAT = FileFormat("ofa-toolkit/measurements", 1, "a journal of measurements")
REFERENCE = "reference"
_WARM_UP_RUNS = 3
_FEWEST_RUNS, _MOST_RUNS = 5, 200


@dataclass(frozen=True, kw_only=True)
class TimedItem:
    """Something to time.

    Attributes:
        key: Name of the item in the journal.
        layers: With one input from outside, called `input`.
        row: The encoded subnet where it is a whole network.
    """

    key: str
    layers: tuple[LayerSpec, ...]
    row: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is known of an item after all passes.

    Attributes:
        time_ms: Median of its quietest burst.
        median_ms: Median of all its bursts.
        spread: Interquartile range of the bursts, relative to `time_ms`.
        waiting: Share of the wall time in which other processes had the processor; None if unknown.
        num_runs: All its runs.
        row: The encoded subnet where it is a whole network.
    """

    time_ms: float
    median_ms: float
    spread: float
    waiting: float | None
    num_runs: int
    row: tuple[int, ...] | None


def open_journal(
    path: str | os.PathLike[str], header: Mapping[str, Any], reporter: Reporter = SILENT
) -> Journal:
    """Start a journal, or go on with one that was begun under the same conditions.

    Raises:
        MeasurementError: It was begun under others; names the first.
    """
    wanted = {"type": "header", **FORMAT.header, **header}
    journal = Journal(path, reporter)
    if not journal.lines:
        journal.append(wanted)
    if (name := journal.other_than(wanted)) is not None:
        begun, now = (_told(header.get(name)) for header in (journal.lines[0], wanted))
        raise MeasurementError(
            f"'{path}' was begun with {name} = {begun}; now it is {now}.",
            hint="Add --restart to throw the old measurements away, or measure with the old settings.",
        )
    return journal


def _told(value: object) -> str:
    """A value of a header in a message; a space's table by its name."""
    return f"another '{value['name']}'" if isinstance(value, Mapping) else repr(value)


def measure(
    runtime: Runtime,
    items: Sequence[TimedItem],
    reference: TimedItem,
    journal: Journal,
    effort: Effort,
    *,
    seed: int,
    reporter: Reporter = SILENT,
) -> None:
    """Time what the journal does not hold yet.

    Args:
        runtime: Runtime that executes the items.
        items: Items to time; their keys are distinct.
        reference: A network that is timed with every chunk, to tell drift.
        journal: Journal that results are appended to.
        effort: Number of passes, rounds and runs.
        seed: Start of the order, the weights and the inputs.
        reporter: Hears how many results there are.
    """
    done = {(line["item"], line["pass"]) for line in journal.of_type("result")}
    num_done, total = len(done), len(items) * effort.num_passes
    if num_done:
        reporter.message(f"{num_done} of {total} results are there from before.")
    reporter.progress(Progress("timing", num_done, total))
    with pinned(runtime):
        standing = runtime.prepare(reference.layers, seed)
        for number in range(effort.num_passes):
            order = rng.generator(seed, "order", number).permutation(len(items))
            todo = [items[i] for i in order if (items[i].key, number) not in done]
            for start in range(0, len(todo), effort.chunk_size):
                chunk = todo[start : start + effort.chunk_size]
                for line in _measure_chunk(runtime, standing, chunk, effort, seed):
                    journal.append({**line, "pass": number})
                num_done += len(chunk)
                reporter.progress(Progress("timing", num_done, total))


def _measure_chunk(
    runtime: Runtime, standing: Session, chunk: Sequence[TimedItem], effort: Effort, seed: int
) -> list[dict[str, Any]]:
    """Bursts of every item of a chunk, going round; the lines for the journal."""
    before = dataclasses.asdict(system_state())
    sessions = [standing, *(runtime.prepare(item.layers, seed) for item in chunk)]
    num_runs = [_runs_for(session, effort.burst_ms) for session in sessions]
    num_rounds = [effort.num_rounds if item.row is None else effort.num_network_rounds for item in chunk]
    num_rounds.insert(0, max(num_rounds))
    bursts: list[list[RunTimes]] = [[] for _ in sessions]
    shuffle = rng.generator(seed, "rounds", chunk[0].key)
    for number in range(max(num_rounds)):
        for index in shuffle.permutation(len(sessions)):
            if number >= num_rounds[index]:
                continue
            session = sessions[index]
            session.time_runs(1)
            bursts[index].append(session.time_runs(num_runs[index]))
    lines: list[dict[str, Any]] = [{"type": REFERENCE, **_summary(bursts[0]), "state": before}]
    for item, own in zip(chunk, bursts[1:], strict=True):
        line = {"type": "result", "item": item.key, **_summary(own)}
        lines.append(line if item.row is None else {**line, "row": list(item.row)})
    return lines


def _runs_for(session: Session, burst_ms: float) -> int:
    """Warm up, and see how many runs fill a burst."""
    fastest = float(session.time_runs(_WARM_UP_RUNS).own_ms.min())
    return int(np.clip(burst_ms / max(fastest, 1e-6), _FEWEST_RUNS, _MOST_RUNS))


def _summary(bursts: Sequence[RunTimes]) -> Bursts:
    """Medians of each burst, wall and processor time in ms, and what the processor did for others."""
    summary: Bursts = {
        "wall_ms": [round(float(np.median(burst.wall_ms)), 6) for burst in bursts],
        "min_ms": round(min(float(burst.own_ms.min()) for burst in bursts), 6),
        "num_runs": sum(len(burst.wall_ms) for burst in bursts),
    }
    if all(burst.cpu_ms is not None for burst in bursts):
        summary["cpu_ms"] = [round(float(np.median(burst.own_ms)), 6) for burst in bursts]
        shares = [burst.own_ms.sum() / burst.wall_ms.sum() for burst in bursts]
        summary["waiting"] = round(max(0.0, 1.0 - float(np.mean(shares))), 6)
    return summary


def estimates(journal: Journal) -> dict[str, Estimate]:
    """What the journal tells of each item."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for line in journal.of_type("result"):
        lines.setdefault(line["item"], []).append(line)
    return {key: _estimate(own) for key, own in lines.items()}


def reference_drift(journal: Journal) -> float | None:
    """Interquartile range of the reference's bursts over the whole run, relative to their median."""
    values = [value for line in journal.of_type(REFERENCE) for value in _own_times(line)]
    if len(values) < 4:
        return None
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float((high - low) / middle)


def _estimate(lines: Sequence[Mapping[str, Any]]) -> Estimate:
    own = np.array([value for line in lines for value in _own_times(line)])
    low, middle, high = np.percentile(own, [25, 50, 75])
    waiting = [line["waiting"] for line in lines if "waiting" in line]
    return Estimate(
        time_ms=float(own.min()),
        median_ms=float(middle),
        spread=float((high - low) / own.min()),
        waiting=float(np.mean(waiting)) if waiting else None,
        num_runs=sum(line["num_runs"] for line in lines),
        row=tuple(lines[0]["row"]) if "row" in lines[0] else None,
    )


def _own_times(line: Mapping[str, Any]) -> list[float]:
    """Burst medians of one line: processor time where it was told, else wall time."""
    times: list[float] = line["cpu_ms"] if "cpu_ms" in line else line["wall_ms"]
    return times


@contextlib.contextmanager
def pinned(runtime: Runtime) -> Iterator[None]:
    """Keep a CPU runtime's threads on the last cores, away from the first, which serves interrupts."""
    if runtime.options.processor != "cpu" or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-runtime.options.num_threads :])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)

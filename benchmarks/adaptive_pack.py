"""A pack under changing load against each of its networks alone.

    python benchmarks/adaptive_pack.py PACK [--deadline MS] [--seconds S]

A camera gives an image every deadline, while another process loads the same processor in every other
phase. An image is late when its answer comes more than the deadline after it, and also when it was passed
over since the one before it still ran. The deadline is by default 1.6 times the time of the largest network
on the machine as it is. Prints, for the adaptive stream and each network alone, the share of images in time
and the mean predicted accuracy, all turns interleaved in phases of the same load; then what a switch costs,
sizes, memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ofa_toolkit.export.kit.adaptive import Pack, Stream

LOAD = "while True: pass"
PHASES = 6
TURNS = 5
"""Of each stream in a phase: what else the machine does comes and goes within seconds."""


def main() -> None:
    """Run all streams in phases and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--deadline", type=float)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each stream in each phase")
    given = parser.parse_args()
    [core, *_] = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    pack = Pack(given.pack)
    idle = Stream(pack, 1e9)
    times = idle.controller.times_ms
    deadline = given.deadline or 1.6 * times[-1]
    accuracy = [entry["top1_percent"] for entry in pack.entries]
    stream = Stream(pack, deadline)
    names = [entry["name"] for entry in pack.entries]
    streams = {"adaptive": partial(adaptive, stream)}
    streams |= {name: partial(fixed, idle, index) for index, name in enumerate(names)}
    order, tallies = list(streams), {name: Tally() for name in streams}
    for phase in range(PHASES):
        load = subprocess.Popen([sys.executable, "-c", LOAD]) if phase % 2 else None
        try:
            for turn in range(TURNS):
                for name in (*order[turn % len(order) :], *order[: turn % len(order)]):
                    follow(tallies[name], accuracy, streams[name], given.seconds / TURNS, deadline)
        finally:
            if load is not None:
                load.kill()
                load.wait()
    print(f"deadline {deadline:.2f} ms; alone and at the start: {', '.join(f'{t:.2f}' for t in times)} ms")
    reached = {name: (tally.mean_accuracy(), tally.percent_in_time()) for name, tally in tallies.items()}
    for name, (top1, in_time) in reached.items():
        print(
            f"{name:10s} in time {in_time:5.1f} % of {len(tallies[name].late)}, predicted top-1 {top1:.2f} %"
        )
    fixed_top1, fixed_in_time = zip(*(reached[name] for name in names), strict=True)
    same = np.interp(reached["adaptive"][0], fixed_top1, fixed_in_time)
    print(f"a fixed network of the adaptive accuracy, interpolated: {same:.1f} % in time")
    print(f"a switch costs {switch_cost(idle):.2f} ms; the smallest network takes {times[0]:.2f} ms")
    size = sum(path.stat().st_size for path in given.pack.rglob("*") if path.is_file()) / 1e6
    weights = [4 * entry["params"] / 1e6 for entry in pack.entries]
    print(f"pack {size:.2f} MB, largest alone {max(weights):.2f}, sum of all {sum(weights):.2f}")
    print(f"memory with all loaded twice {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


class Tally:
    """What became of the images of one stream."""

    def __init__(self) -> None:
        self.late: list[bool] = []
        self.accuracy: list[float] = []

    def percent_in_time(self) -> float:
        """Of all images."""
        return float(100 * (1 - np.mean(self.late)))

    def mean_accuracy(self) -> float:
        """Of the networks that were to classify them."""
        return float(np.mean(self.accuracy))


def follow(
    tally: Tally,
    accuracy: list[float],
    classify: Callable[[float, int], int],
    seconds: float,
    deadline: float,
) -> None:
    """Let a camera give images for a while.

    Args:
        tally: Told of every image.
        accuracy: Of each network.
        classify: Classifies an image that waited so many milliseconds, after so many that were passed over;
            the index of the network that did.
        seconds: How long.
        deadline: Milliseconds between images, and for each.
    """
    missed = 0
    arrival = start = time.perf_counter()
    while arrival < start + seconds:
        time.sleep(max(0.0, arrival - time.perf_counter()))
        begun = time.perf_counter()
        now = classify(1000 * (begun - arrival), missed)
        end = time.perf_counter()
        intervals = 1000 * (end - arrival) / deadline
        missed = max(0, int(intervals) - 1)
        tally.late += [intervals > 1] + [True] * missed
        tally.accuracy += [accuracy[now]] * (1 + missed)
        arrival += (1 + missed) * deadline / 1000


def adaptive(stream: Stream, waited_ms: float, missed: int) -> int:
    """Classify one image with the network of the moment."""
    side = stream.settings()["size"]
    now = stream.controller.current
    stream.run(np.zeros((3, side, side), np.float32), waited_ms, missed)
    return now


def fixed(stream: Stream, index: int, waited_ms: float, missed: int) -> int:
    """Classify one image with one network, however late it is."""
    del waited_ms, missed
    session = stream.sessions[index]
    [source] = session.get_inputs()
    session.run(None, {source.name: np.zeros(source.shape, np.float32)})
    return index


def switch_cost(stream: Stream, rounds: int = 60) -> float:
    """Milliseconds that an image takes longer after another network than after its own; mean of all pairs."""
    every = range(len(stream.sessions))

    def took(index: int) -> float:
        start = time.perf_counter()
        fixed(stream, index, 0.0, 0)
        return 1000 * (time.perf_counter() - start)

    alone = [np.median([took(index) for _ in range(rounds)]) for index in every]
    after = [
        np.median([(took(other), took(index))[1] for _ in range(rounds)]) - alone[index]
        for index in every
        for other in every
        if other != index
    ]
    return float(np.mean(after))


if __name__ == "__main__":
    main()

"""A pack under changing load against each of its networks alone.

    python benchmarks/adaptive_pack.py PACK [--deadline MS] [--seconds S]

A stream of images while another process loads the same processor in every other phase. The deadline is by
default 1.6 times the time of the largest network on the machine as it is. Prints, for the adaptive stream and
each network alone, the share of images in time and the mean predicted accuracy, all turns interleaved in
phases of the same load; then what a switch costs, sizes, and memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from ofa_toolkit.export.kit.adaptive import Pack, Stream

LOAD = "while True: pass"
PHASES = 6


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
    streams = {"adaptive": Stream(pack, deadline)}
    late: dict[str, list[bool]] = {
        name: [] for name in ("adaptive", *(entry["name"] for entry in pack.entries))
    }
    mean: dict[str, list[float]] = {name: [] for name in late}
    switches: list[float] = []
    steady: list[float] = []
    for phase in range(PHASES):
        load = subprocess.Popen([sys.executable, "-c", LOAD]) if phase % 2 else None
        try:
            adaptive(streams["adaptive"], given.seconds, deadline, accuracy, late, mean, switches, steady)
            for index, entry in enumerate(pack.entries):
                fixed(idle, index, given.seconds, deadline, late[entry["name"]])
                mean[entry["name"]].append(accuracy[index])
        finally:
            if load is not None:
                load.kill()
                load.wait()
    print(f"deadline {deadline:.2f} ms; alone and at the start: {', '.join(f'{t:.2f}' for t in times)} ms")
    for name, misses in late.items():
        share = 100 * (1 - np.mean(misses))
        print(
            f"{name:10s} in time {share:5.1f} % of {len(misses)}, predicted top-1 {np.mean(mean[name]):.2f} %"
        )
    if switches:
        print(f"first image after a switch {np.median(switches):.2f} ms, others {np.median(steady):.2f} ms")
    size = sum(path.stat().st_size for path in given.pack.rglob("*") if path.is_file())
    alone = [4 * entry["params"] for entry in pack.entries]
    print(
        f"pack {size / 1e6:.2f} MB, largest alone {max(alone) / 1e6:.2f}, sum of all {sum(alone) / 1e6:.2f}"
    )
    print(f"memory with all loaded twice {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def adaptive(
    stream: Stream,
    seconds: float,
    deadline: float,
    accuracy: list[float],
    late: dict[str, list[bool]],
    mean: dict[str, list[float]],
    switches: list[float],
    steady: list[float],
) -> None:
    """Run the pack's stream for a while."""
    before, end = stream.controller.current, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        side = stream.settings()["size"]
        stream.run(np.zeros((3, side, side), np.float32))
        took = 1000 * (time.perf_counter() - start)
        now = stream.controller.current
        (steady if now == before else switches).append(took)
        late["adaptive"].append(took > deadline)
        mean["adaptive"].append(accuracy[now])
        before = now


def fixed(stream: Stream, index: int, seconds: float, deadline: float, late: list[bool]) -> None:
    """Run one network alone for a while."""
    session, end = stream.sessions[index], time.perf_counter() + seconds
    [source] = session.get_inputs()
    image = np.zeros(source.shape, np.float32)
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, {source.name: image})
        late.append(1000 * (time.perf_counter() - start) > deadline)


if __name__ == "__main__":
    main()

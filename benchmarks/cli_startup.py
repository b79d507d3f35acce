"""How long `ofa-tk --help` takes beside a Python that imports only click, interleaved in one run.

    python benchmarks/cli_startup.py [--repeats 15]

The target is at most 0.3 s and no torch; the ratio is what to compare between machines.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def seconds(*arguments: str) -> float:
    """Wall time of one run of this Python."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    pairs = [(seconds("-c", "import click"), seconds("-m", "ofa_tk", "--help")) for _ in range(repeats)]
    click, ofa_tk = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"import click {click * 1e3:.0f} ms, ofa-tk --help {ofa_tk * 1e3:.0f} ms, ratio {ofa_tk / click:.2f}"
    )


if __name__ == "__main__":
    main()

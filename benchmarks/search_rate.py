"""How many subnets a second are judged for accuracy, latency and MACs together, on one core.

    OMP_NUM_THREADS=1 python benchmarks/search_rate.py [--device jetson-nano] [--subnets 200000]

Bundled predictor and table; encoded populations in, rounded scores out. Times are processor seconds, the
fastest of several passes; the ratio to decoding and lowering single subnets is taken in the same run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.pipelines.search.context import SearchContext
from ofa_toolkit.pipelines.search.request import SearchRequest
from ofa_toolkit.search.problem import Objective
from ofa_toolkit.spaces import Encoding, lower, sample_population


def fastest(run: Callable[[], object], passes: int) -> float:
    """Processor seconds of the fastest pass."""
    times = []
    for _ in range(passes):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print rates of each figure and of all together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="jetson-nano")
    parser.add_argument("--subnets", type=int, default=200_000)
    parser.add_argument("--passes", type=int, default=7)
    arguments = parser.parse_args()
    context = SearchContext(SearchRequest(device=arguments.device))
    population = sample_population(context.space, arguments.subnets, np.random.default_rng(0))
    figures = {name: context.figure(name) for name in ("accuracy", "latency", "macs")}
    problem = context.problem(
        [Objective(figure=figure, is_maximized=name == "accuracy") for name, figure in figures.items()]
    )
    runs: dict[str, Callable[[], object]] = {
        name: (lambda figure=figure: figure(population)) for name, figure in figures.items()
    }
    runs["together"] = lambda: problem.evaluate(population)
    for run in runs.values():
        run()
    each = 0.0
    for name, run in runs.items():
        seconds = fastest(run, arguments.passes)
        each = seconds / arguments.subnets
        print(f"{name:10s} {1 / each:12,.0f} subnets/s  {1e9 * each:6.0f} ns")
    few = population[:200]

    def one_by_one() -> None:
        for subnet in Encoding(context.space).decode(few):
            count_macs(lower(context.space, subnet))

    single = fastest(one_by_one, 1) / len(few)
    print(f"MACs of single subnets, decoded and lowered: {1 / single:,.0f} subnets/s")
    print(f"all figures of a population against MACs one by one: {single / each:,.0f} x")


if __name__ == "__main__":
    main()

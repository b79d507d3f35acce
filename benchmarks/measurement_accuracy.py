"""How well a measured table predicts subnets of this machine that it has never seen.

    ofa-tk latency measure --space mobilenet-v3-compact
    ofa-tk latency measure --space ofa-mobilenet-v3-w1.0
    python benchmarks/measurement_accuracy.py

Draws subnets from a random stream of its own (50 of mobilenet-v3-compact, 20 of ofa-mobilenet-v3-w1.0), times
them now as `latency measure` times networks, and prints Spearman's rank correlation and the mean absolute
percentage error of the table's predictions. Exits 1 where a target is missed (.98 and 5 %). The machine
should be otherwise idle: the share of time that other processes had is printed beside the result.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from ofa_toolkit.core import rng
from ofa_toolkit.latency import load_table
from ofa_toolkit.latency.measuring.effort import Effort
from ofa_toolkit.latency.measuring.measure import TimedItem, estimates, measure, open_journal
from ofa_toolkit.latency.measuring.measured_table import CHECK, TableAccuracy, network_items, networks
from ofa_toolkit.latency.measuring.own_table import journal_header
from ofa_toolkit.latency.runtimes import RUNTIMES, RuntimeOptions
from ofa_toolkit.spaces import get_space, sample_population

SPACES = {"mobilenet-v3-compact": 50, "ofa-mobilenet-v3-w1.0": 20}
LEAST_SPEARMAN, MOST_PERCENT = 0.98, 5.0


def check_space(name: str, num_networks: int, options: argparse.Namespace) -> bool:
    """Time fresh subnets of one space and print a line; whether the targets are met."""
    table = load_table(f"{options.device}:this-machine-onnxruntime-fp32-1", options.tables)
    space = get_space(name)
    bound = table.bind(space)
    drawn = sample_population(space, 40 * num_networks, rng.generator(options.seed, "accuracy", name))
    rows = np.unique(drawn[bound.is_covered(drawn)], axis=0)
    rows = rng.generator(options.seed, "order", name).permutation(rows)[:num_networks]
    runtime = RUNTIMES["onnxruntime"](RuntimeOptions())
    items = network_items(space, CHECK, rows)
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(str(Path(folder) / "journal.jsonl"), journal_header(space, runtime))
        reference = TimedItem(key="reference", layers=items[0].layers)
        effort = Effort(num_passes=options.passes)
        measure(runtime, items, reference, journal, effort, seed=options.seed)
        found = estimates(journal)
    rows, measured_ms = networks(found, CHECK)
    accuracy = TableAccuracy.of(bound.predict(rows), measured_ms)
    waiting = float(np.mean([estimate.waiting or 0.0 for estimate in found.values()]))
    spearman = accuracy.spearman or 0.0
    print(
        f"{name}: {len(rows)} subnets, {measured_ms.min():.3f} to {measured_ms.max():.3f} ms, Spearman "
        f"{spearman:.4f}, MAPE {accuracy.mape_percent:.2f} %; others had {100 * waiting:.0f} % of the time"
    )
    return spearman >= LEAST_SPEARMAN and accuracy.mape_percent <= MOST_PERCENT


def main() -> int:
    """Check every space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="this-cpu", help="device the tables are filed under")
    parser.add_argument("--tables", action="append", default=[], help="a further folder of devices")
    parser.add_argument("--space", action="append", choices=sorted(SPACES), help="only this space")
    parser.add_argument("--passes", type=int, default=3, help="times each network is looked at")
    parser.add_argument("--seed", type=int, default=12345, help="start of the random streams")
    options = parser.parse_args()
    chosen = options.space or list(SPACES)
    met = [check_space(name, SPACES[name], options) for name in chosen]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())

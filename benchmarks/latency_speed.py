"""How fast whole populations are predicted, against going through the layers of each subnet.

    python benchmarks/latency_speed.py [DEVICE[:VARIANT] ...]

Processor time of this process, so that other programs do not count; the ratio is what to compare.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from ofa_toolkit.latency import load_table
from ofa_toolkit.latency.predictors.layer_features import layer_features
from ofa_toolkit.spaces import Encoding, get_space, sample_population
from ofa_toolkit.spaces.lowering import lower_unchecked

SPACE = "ofa-mobilenet-v3-w1.2"
DEVICES = ("jetson-nano", "jetson-nano:perfprediction-tensorflow-fp32-1", "v100", "v100:help-pytorch-fp32-32")
NUM_SUBNETS = 100_000
NUM_ALONE = 200
NUM_REPEATS = 5


def seconds(function: Callable[[], object]) -> float:
    """Smallest processor time of a few calls."""
    times = []
    for _ in range(NUM_REPEATS):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    """Print one line a device."""
    space = get_space(SPACE)
    population = sample_population(space, NUM_SUBNETS, np.random.default_rng(0))
    subnets = Encoding(space).decode(population[:NUM_ALONE])
    alone = seconds(lambda: [layer_features(lower_unchecked(space, subnet)) for subnet in subnets])
    alone *= NUM_SUBNETS / NUM_ALONE
    drawn = seconds(lambda: sample_population(space, NUM_SUBNETS, np.random.default_rng(0)))
    print(f"{NUM_SUBNETS} subnets of {SPACE}; drawing and encoding them: {drawn:.3f} s")
    for name in sys.argv[1:] or DEVICES:
        bound = load_table(name).bind(space)
        taken = seconds(lambda bound=bound: bound.predict(population))
        print(f"{bound.table.name:50} {taken:6.3f} s, {alone / taken:6.0f} times as fast as layer by layer")


if __name__ == "__main__":
    main()

"""Where bundled latency tables predict that a larger subnet is faster.

    python benchmarks/monotonicity.py [--device NAME ...]

For each variant and space: random subnets and the smallest one, against all that are larger in one choice
(resolution, depth, kernel size or expand ratio; kernel sizes and ratios also everywhere). By choice the
largest fall of predicted latency in percent; the error that is stated beside such a prediction; and how many
falls are larger, where `search` and `latency predict` warn. Variants that never fall are counted, not listed.
"""

from __future__ import annotations

import argparse

import numpy as np

from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.latency.table import list_devices, load_table
from ofa_toolkit.spaces import Encoding, get_space, sample_population
from ofa_toolkit.spaces.growth import growths

SPACES = ("ofa-mobilenet-v3-w1.0", "ofa-mobilenet-v3-w1.2", "ofa-proxyless-w1.3", "mobilenet-v3-compact-96")
CHOICES = ("resolution", "depth", "kernel size", "expand ratio")
NUM_SUBNETS = 40
WORTH_LISTING_PERCENT = 0.01


def main() -> None:
    """One line a variant and space in which something falls."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", nargs="*")
    arguments = parser.parse_args()
    grown = {name: _grown(name) for name in SPACES}
    columns = "".join(f"{choice:>13}" for choice in CHOICES)
    print(f"{'variant':50} {'space':24}{columns}{'error':>9}  beyond")
    named = [device for device in list_devices() if not arguments.device or device.name in arguments.device]
    names = [f"{device.name}:{variant.name}" for device in named for variant in device.variants]
    falling = [name for name in names if _report(name, grown)]
    print(f"{len(falling)} of {len(names)} variants predict less for more somewhere")


def _grown(name):  # noqa: ANN001, ANN202
    """Choices `(N,)` and pairs of a subnet and a larger one `(N, 2, genes)`."""
    space = get_space(name)
    rows = sample_population(space, NUM_SUBNETS, np.random.default_rng(0))
    rows = np.concatenate([Encoding(space).encode([space.smallest()]), rows])
    found = [(growth.choice, row, growth.row) for row in rows for growth in growths(space, row)]
    return np.array([choice for choice, *_ in found]), np.stack([pair for _, *pair in found])


def _report(name, grown) -> bool:  # noqa: ANN001
    """Whether anything falls; prints the spaces in which it does."""
    is_falling = False
    for space, (choices, pairs) in grown.items():
        try:
            bound = load_table(name).bind(get_space(space))
        except LatencyTableError:
            continue
        covered = bound.is_covered(pairs[:, 0]) & bound.is_covered(pairs[:, 1])
        if not covered.any():
            continue
        before, after = (bound.predict(pairs[covered, end]) for end in (0, 1))
        falls = 100 * (1 - after / before)
        if falls.max() < WORTH_LISTING_PERCENT:
            continue
        is_falling, error = True, bound.error.percent
        worst = [falls[choices[covered] == choice].max(initial=0.0) for choice in CHOICES]
        shown = "".join(f"{fall:13.2f}" for fall in worst)
        known = "  unknown" if error is None else f"{error:9.2f}  {(falls > error).sum()} of {len(falls)}"
        print(f"{name:50} {space:24}{shown}{known}", flush=True)
    return is_falling


if __name__ == "__main__":
    main()

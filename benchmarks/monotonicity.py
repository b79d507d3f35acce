"""Where bundled latency tables predict that a subnet becomes faster when one of its choices grows.

    python benchmarks/monotonicity.py [--device NAME ...]

For each variant and space: random subnets, each with one choice grown by one step (resolution, depth, kernel
size, expand ratio). By choice, the largest fall of predicted latency in percent; and how many of all steps
fall by more than the error that is stated beside such a prediction, which is when `search` and `latency
predict` warn. Variants that never fall are counted, not listed.
"""

from __future__ import annotations

import argparse

import numpy as np

from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.latency.table import list_devices, load_table
from ofa_toolkit.spaces import get_space, sample_population
from ofa_toolkit.spaces.growth import growths

SPACES = ("ofa-mobilenet-v3-w1.0", "ofa-mobilenet-v3-w1.2", "ofa-proxyless-w1.3", "mobilenet-v3-compact-96")
CHOICES = ("resolution", "depth", "kernel size", "expand ratio")
NUM_SUBNETS = 40
WORTH_LISTING_PERCENT = 0.01


def main() -> None:
    """One line a variant and space."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", nargs="*")
    arguments = parser.parse_args()
    steps = {name: _steps(name) for name in SPACES}
    print(f"{'variant':48} {'space':24} {'error':>7} " + "".join(f"{c:>13}" for c in CHOICES) + "  beyond")
    named = [device for device in list_devices() if not arguments.device or device.name in arguments.device]
    names = [f"{device.name}:{variant.name}" for device in named for variant in device.variants]
    falling = sum([_report(name, steps) for name in names])
    print(f"{falling} of {len(names)} variants predict less for more somewhere")


def _steps(name):  # noqa: ANN001, ANN202
    rows = sample_population(get_space(name), NUM_SUBNETS, np.random.default_rng(0))
    grown = [(number, growth) for number, row in enumerate(rows) for growth in growths(get_space(name), row)]
    owners = np.array([number for number, _ in grown])
    return rows, owners, np.array([g.choice for _, g in grown]), np.stack([g.row for _, g in grown])


def _report(name, steps) -> bool:  # noqa: ANN001
    """Whether any step falls; prints those spaces where one does."""
    is_falling = False
    for space, (rows, owners, choices, larger) in steps.items():
        try:
            bound = load_table(name).bind(get_space(space))
        except LatencyTableError:
            continue
        is_covered = bound.is_covered(rows)[owners] & bound.is_covered(larger)
        if not is_covered.any():
            continue
        own, grown = rows[owners][is_covered], larger[is_covered]
        fall = 100 * (1 - bound.predict(grown) / bound.predict(own))
        if fall.max() < WORTH_LISTING_PERCENT:
            continue
        is_falling = True
        worst = [fall[choices[is_covered] == choice].max(initial=0.0) for choice in CHOICES]
        error = bound.error.percent
        beyond = "unknown" if error is None else f"{100 * (fall > error).mean():.1f} %"
        shown = "unknown" if error is None else f"{error:.2f}"
        print(
            f"{name:48} {space:24} {shown:>7} " + "".join(f"{w:13.2f}" for w in worst) + f"  {beyond}",
            flush=True,
        )
    return is_falling


if __name__ == "__main__":
    main()

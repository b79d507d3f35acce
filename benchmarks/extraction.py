"""Cutting the largest subnet out of OFA's MobileNetV3 w1.0: this package against PyPI's `ofa`.

    pip install ofa
    python benchmarks/extraction.py

Both sides copy the same shapes on one thread, in turn, in one process. Prints the median of each and the
median of the ratios of neighbouring runs; at most 0.5 is the aim.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import torch

from ofa_toolkit.spaces import get_space
from ofa_toolkit.supernets import Supernet, extract

ROUNDS = 40


def reference() -> Callable[[], object]:
    """The reference's extraction of its largest subnet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
    except ImportError:
        sys.exit("Error: the package 'ofa' is not installed. Hint: pip install ofa")
    network = OFAMobileNetV3(
        n_classes=1000, width_mult=1.0, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4]
    )
    network.set_max_net()
    return lambda: network.get_active_subnet(preserve_weight=True)


def ours() -> Callable[[], object]:
    """Our extraction of the same."""
    space = get_space("ofa-mobilenet-v3-w1.0")
    supernet = Supernet(space, use_kernel_transforms=True).eval()
    largest = space.largest()
    return lambda: extract(supernet, largest)


def timed(task: Callable[[], object]) -> float:
    """Milliseconds of one run."""
    start = time.perf_counter()
    task()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Run both in turn and print the comparison."""
    torch.set_num_threads(1)
    tasks = ours(), reference()
    for task in tasks:
        timed(task)
    rounds = [(timed(tasks[0]), timed(tasks[1])) for _ in range(ROUNDS)]
    own, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(a / b for a, b in rounds)
    print(f"ofa-toolkit {own:.1f} ms, ofa {theirs:.1f} ms, ratio {ratio:.2f} (median of {ROUNDS} rounds)")


if __name__ == "__main__":
    main()

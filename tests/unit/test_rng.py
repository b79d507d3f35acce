"""Named random streams: the same everywhere, and independent of each other."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ofa_toolkit.core.rng import generator, torch_seed


def test_streams_are_fixed_for_ever() -> None:
    """A change here changes every published run."""
    assert generator(0, "subnets", 3).integers(1000, size=4).tolist() == [313, 498, 308, 394]
    assert torch_seed(0, "weights") == 5681230749671811970


def test_streams_are_the_same_in_another_process() -> None:
    code = (
        "from ofa_toolkit.core.rng import *; print(generator(7, 'a', 1).integers(2**62), torch_seed(7, 'a'))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(generator(7, "a", 1).integers(2**62)), str(torch_seed(7, "a"))]


def test_every_label_counts() -> None:
    streams = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", 1), (0, "a", "1"), (0, "a1"), (0, 1, "a"), (1, "a")]
    firsts = {tuple(generator(*stream).integers(2**62, size=2).tolist()) for stream in streams}
    seeds = {torch_seed(*stream) for stream in streams}
    assert len(firsts) == len(seeds) == len(streams)


def test_numpy_integers_are_integers() -> None:
    assert torch_seed(np.int64(3), "step", np.int32(5)) == torch_seed(3, "step", 5)


def test_torch_seeds_fit() -> None:
    assert all(0 <= torch_seed(seed, "x") < 2**63 for seed in range(200))


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        generator(-1)

"""Named random streams: every consumer of randomness draws from its own.

A stream is fixed by the run's seed and a path of labels, and by nothing else: not by the order in which
parts start, by `PYTHONHASHSEED`, or by the process. Drawing more numbers in one place therefore never
changes another place, and a resumed or distributed run re-creates a stream from its labels
(`generator(seed, "subnets", step)`).
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def generator(seed: int, *labels: str | int) -> np.random.Generator:
    """The random generator of the stream `labels` under `seed`.

    Args:
        seed: The run's seed, a non-negative integer.
        labels: Purpose of the stream, from the general to the particular. `1` and `"1"` are distinct.
    """
    words = np.frombuffer(_digest(seed, labels), dtype="<u4")
    return np.random.default_rng(np.random.SeedSequence(words.tolist()))


def torch_seed(seed: int, *labels: str | int) -> int:
    """A seed in [0, 2^63) for `torch.Generator.manual_seed`, by the same rule as `generator`."""
    return int.from_bytes(_digest(seed, labels)[:8], "little") >> 1


def _digest(seed: int, labels: tuple[str | int, ...]) -> bytes:
    if seed < 0:
        raise ValueError(f"A seed is a non-negative integer, got {seed}.")
    # int() admits NumPy integers; JSON keeps 1 and "1" apart and has one spelling for each list.
    path = [label if isinstance(label, str) else int(label) for label in labels]
    return hashlib.sha256(json.dumps([int(seed), *path]).encode()).digest()

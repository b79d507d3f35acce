"""Where a table predicts that a subnet becomes faster when one of its choices grows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from ofa_toolkit.latency.predictors.predictor import NotCovered
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import Encoding, SearchSpace, Subnet, get_space, sample_population

_NUM_BASES = 40
_WORTH_SAYING_PERCENT = 1.0
_SPACES = ("ofa-mobilenet-v3-w1.2", "ofa-mobilenet-v3-w1.0", "mobilenet-v3-compact-96")


def monotonicity_caveat(content: TableContent) -> str | None:
    """A sentence with the worst drop for each choice, or None where there is none worth saying."""
    for name in _SPACES:
        space = get_space(name)
        for predictor in content.predictors:
            bound = predictor.bind(space)
            if isinstance(bound, NotCovered):
                continue
            drops = {}
            for choice, chains in _chains(space).items():
                rows = Encoding(space).encode([subnet for chain in chains for subnet in chain])
                times = bound.predict(rows).reshape(len(chains), -1)
                if np.isfinite(times).all():
                    drops[choice] = float(100 * (1 - (times[:, 1:] / times[:, :-1]).min()))
            said = [
                f"{choice} by {drop:.0f} %" for choice, drop in drops.items() if drop > _WORTH_SAYING_PERCENT
            ]
            if said:
                return f"Not monotone: predictions for {name} fall where a choice grows, {', '.join(said)}."
            if drops:
                return None
    return None


def _chains(space: SearchSpace) -> dict[str, list[list[Subnet]]]:
    """By choice, random subnets with that choice growing step by step, everywhere in the network."""
    bases = Encoding(space).decode(sample_population(space, _NUM_BASES, np.random.default_rng(0)))
    kernels = sorted({k for stage in space.stages for k in stage.kernel_sizes})
    ratios = sorted({e for stage in space.stages for e in stage.expand_ratios})
    return {
        "kernel size": [[_with(space, base, kernel_size=k) for k in kernels] for base in bases],
        "expand ratio": [[_with(space, base, expand_ratio=e) for e in ratios] for base in bases],
        "resolution": [
            [dataclasses.replace(base, resolution=size) for size in _sizes(space.resolutions)]
            for base in bases
        ],
    }


def _sizes(offered: Sequence[int]) -> Iterator[int]:
    """Sizes far enough apart to change the maps of the last stage."""
    last = 0
    for size in offered:
        if size - last >= 16 or size == offered[0]:
            last = size
            yield size


def _with(
    space: SearchSpace, base: Subnet, *, kernel_size: int | None = None, expand_ratio: float | None = None
) -> Subnet:
    stages = []
    for stage, choice in zip(space.stages, base.stages, strict=True):
        kernels, ratios = choice.kernel_sizes, choice.expand_ratios
        if kernel_size is not None and kernel_size in stage.kernel_sizes:
            kernels = (kernel_size,) * choice.depth
        if expand_ratio is not None and expand_ratio in stage.expand_ratios:
            ratios = (expand_ratio,) * choice.depth
        stages.append(dataclasses.replace(choice, kernel_sizes=kernels, expand_ratios=ratios))
    return Subnet(base.resolution, tuple(stages))

"""Accuracy of a supernet's subnets on images: named ones, extremes, random ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets import Split
from ofa_toolkit.evaluation.accuracy import Accuracy
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator
from ofa_toolkit.spaces import SearchSpace, Subnet, lower, sample_subnets
from ofa_toolkit.spaces.subnet_file import read_subnet, subnet_document


@dataclass(frozen=True, kw_only=True)
class SubnetResult:
    """One measured subnet, or another network.

    Attributes:
        name: `largest`, `smallest`, `random 1`, its file, or `network`.
        resolution: Side of the input in pixels.
        macs: Multiply-accumulates of one image.
        params: Parameters.
        accuracy: On the split.
        architecture: As in `subnet.json`; empty for another network than ours.
    """

    name: str
    resolution: int
    macs: int
    params: int
    accuracy: Accuracy
    architecture: Mapping[str, Any]

    @property
    def top1_percent(self) -> float:
        """Share of images whose largest logit is the label's, 0 to 100."""
        return self.accuracy.top1_percent


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Accuracies of some subnets of one supernet.

    Attributes:
        supernet: As the user named it.
        data: The data set, as the user named it.
        split: Part of the data set that was judged.
        results: In the order judged.
        notes: Assumptions that were made, such as a resolution.
    """

    supernet: str
    data: str
    split: Split
    results: tuple[SubnetResult, ...]
    notes: tuple[str, ...] = ()


def evaluate_subnets(
    evaluator: Evaluator,
    *,
    subnets: Sequence[Path] = (),
    resolution: int | None = None,
    num_random: int = 3,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Evaluation:
    """Measure given subnets; the largest, the smallest and random ones where none are given.

    Args:
        evaluator: The supernet and the images.
        subnets: Files of subnets.
        resolution: Input size in pixels, in place of what the files say.
        num_random: Random subnets, where no files are given.
        seed: Seed of the random subnets.
        reporter: Hears how far it is.

    Raises:
        FileFormatError: A subnet file cannot be read.
        SubnetNotInSpaceError: A subnet is not in the space.
        MismatchError: A subnet belongs to another space.
    """
    supernet = evaluator.supernet
    read = [(str(path), read_subnet(path, supernet.space, resolution=resolution)) for path in subnets]
    chosen: list[tuple[str, Subnet]] = [(name, found.subnet) for name, found in read]
    notes = [*supernet.notes, *(note for _, found in read for note in found.notes)]
    if not chosen:
        trained = supernet.trained_space
        chosen = [("largest", trained.largest(resolution)), ("smallest", trained.smallest(resolution))]
        if (only := supernet.only_subnet) is not None:
            offered = trained.resolutions if trained.has_one_architecture else (only.resolution,)
            sizes = offered if resolution is None else (resolution,)
            chosen = [("network", dataclasses.replace(only, resolution=size)) for size in reversed(sizes)]
            num_random = 0
        drawn = sample_subnets(trained, num_random, generator(seed, "evaluate"), resolution=resolution)
        chosen += [(f"random {number}", subnet) for number, subnet in enumerate(drawn, start=1)]
    results = []
    for number, (name, subnet) in enumerate(chosen):
        reporter.progress(Progress("Measuring subnets", number, len(chosen)))
        results.append(describe(name, subnet, supernet.space, evaluator.accuracy(subnet)))
    reporter.progress(Progress("Measuring subnets", len(chosen), len(chosen)))
    return Evaluation(
        supernet=supernet.name,
        data=evaluator.dataset.source,
        split=evaluator.request.split,
        results=tuple(results),
        notes=tuple(notes),
    )


def describe(name: str, subnet: Subnet, space: SearchSpace, accuracy: Accuracy) -> SubnetResult:
    """A result with the subnet's costs."""
    layers = lower(space, subnet)
    return SubnetResult(
        name=name,
        resolution=subnet.resolution,
        macs=count_macs(layers),
        params=count_params(layers),
        accuracy=accuracy,
        architecture=subnet_document(subnet),
    )

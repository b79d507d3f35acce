"""Means over seeds with their 95 % intervals, and differences to the reference paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ofa_toolkit.pipelines.studies.results import RunResult

CONFIDENCE = 0.95

Metric = Callable[[RunResult, str], float]
"""A number of a run, given the name of a space."""

MEAN_PARETO = "mean Pareto top-1 (%)"
DEVICE_HOURS, FORWARD_MACS = "device-hours", "forward MACs (10^12)"

ACCURACIES: Mapping[str, Metric] = {
    MEAN_PARETO: lambda run, space: run.curve(space).mean_pareto_accuracy_percent,
    "smallest top-1 (%)": lambda run, space: _test(run, space, "smallest"),
    "largest top-1 (%)": lambda run, space: _test(run, space, "largest"),
}

COSTS: Mapping[str, Metric] = {
    DEVICE_HOURS: lambda run, _: run.device_hours,
    FORWARD_MACS: lambda run, _: run.forward_macs / 1e12,
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean and how sure it is.

    Attributes:
        mean: Over the values.
        half_width: Half of the 95 % interval by Student's t; None for a single value.
        count: Number of values.
    """

    mean: float
    half_width: float | None
    count: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.half_width is not None and abs(self.mean) > self.half_width


@dataclass(frozen=True, kw_only=True)
class Row:
    """One label of a study.

    Attributes:
        label: Label of the recipe.
        seeds: Seeds of the recipe's finished runs.
        is_trained: Whether it trained all subnets of the space.
        values: Accuracies and costs by name.
        differences: Of accuracies to the reference's, over the seeds that both have; empty for the reference.
        cost_ratios: Costs as multiples of the reference's, over the same seeds; of device-hours over those
            trained on the same hardware, None without any.
    """

    label: str
    seeds: tuple[int, ...]
    is_trained: bool
    values: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    cost_ratios: Mapping[str, Estimate | None]


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % interval of values of a normal distribution.

    Raises:
        ValueError: There is no value.
    """
    from scipy import stats

    if not values:
        raise ValueError("An estimate needs a value.")
    array = np.asarray(values, dtype=np.float64)
    half_width = None
    if len(array) > 1:
        quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(array) - 1))
        half_width = quantile * float(array.std(ddof=1)) / float(np.sqrt(len(array)))
    return Estimate(mean=float(array.mean()), half_width=half_width, count=len(array))


def summarize(results: Sequence[RunResult], space: str, labels: Sequence[str], reference: str) -> list[Row]:
    """One row per label that has results, in the order of `labels`."""
    runs = {(result.label, result.seed): result for result in results}
    rows = []
    for label in labels:
        seeds = sorted(seed for name, seed in runs if name == label)
        if not seeds:
            continue
        own = [runs[label, seed] for seed in seeds]
        pairs = [(run, runs[reference, run.seed]) for run in own if (reference, run.seed) in runs]
        pairs = [] if label == reference else pairs
        alike = [(run, other) for run, other in pairs if run.hardware == other.hardware]
        rows.append(
            Row(
                label=label,
                seeds=tuple(seeds),
                is_trained=own[0].curve(space).is_trained,
                values={
                    name: estimate([metric(run, space) for run in own])
                    for name, metric in {**ACCURACIES, **COSTS}.items()
                },
                differences={
                    name: estimate([metric(run, space) - metric(other, space) for run, other in pairs])
                    for name, metric in ACCURACIES.items()
                    if pairs
                },
                cost_ratios={
                    name: _ratio(metric, alike if name == DEVICE_HOURS else pairs, space)
                    for name, metric in COSTS.items()
                    if pairs
                },
            )
        )
    return rows


def _ratio(metric: Metric, pairs: Sequence[tuple[RunResult, RunResult]], space: str) -> Estimate | None:
    return estimate([metric(run, space) / metric(other, space) for run, other in pairs]) if pairs else None


def _test(run: RunResult, space: str, which: str) -> float:
    curve = run.curve(space)
    value = (curve.smallest if which == "smallest" else curve.largest).test_top1_percent
    assert value is not None, "the ends of a space are always measured on test images"
    return value

"""Means over seeds with their 95 % intervals, and differences to the reference paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ofa_toolkit.pipelines.studies.results import RunResult

CONFIDENCE = 0.95

Metric = Callable[[RunResult, str], float]
"""A number of a run, given the name of a space."""

MEAN_PARETO, DEVICE_HOURS = "mean Pareto top-1 (%)", "device-hours"

METRICS: Mapping[str, Metric] = {
    MEAN_PARETO: lambda run, space: run.curve(space).mean_pareto_accuracy_percent,
    "smallest top-1 (%)": lambda run, space: _test(run, space, "smallest"),
    "largest top-1 (%)": lambda run, space: _test(run, space, "largest"),
    DEVICE_HOURS: lambda run, _: run.device_hours,
    "forward MACs (10^12)": lambda run, _: run.forward_macs / 1e12,
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
        values: By name of the metric.
        differences: To the reference, over the seeds that both have; empty for the reference itself.
        cost_ratio: Device-hours as a multiple of the reference's, over the same seeds; None without any.
    """

    label: str
    seeds: tuple[int, ...]
    is_trained: bool
    values: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    cost_ratio: Estimate | None


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
        common = [seed for seed in seeds if (reference, seed) in runs] if label != reference else []
        rows.append(
            Row(
                label=label,
                seeds=tuple(seeds),
                is_trained=runs[label, seeds[0]].curve(space).is_trained,
                values={
                    name: estimate([metric(runs[label, seed], space) for seed in seeds])
                    for name, metric in METRICS.items()
                },
                differences={
                    name: estimate(
                        [metric(runs[label, s], space) - metric(runs[reference, s], space) for s in common]
                    )
                    for name, metric in METRICS.items()
                    if common
                },
                cost_ratio=estimate(
                    [runs[label, s].device_hours / runs[reference, s].device_hours for s in common]
                )
                if common
                else None,
            )
        )
    return rows


def _test(run: RunResult, space: str, which: str) -> float:
    curve = run.curve(space)
    value = (curve.smallest if which == "smallest" else curve.largest).test_top1_percent
    assert value is not None, "the ends of a space are always measured on test images"
    return value

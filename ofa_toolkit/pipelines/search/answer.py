"""What a search's answer is compared with, which limits cost nothing, and what to say when nothing fits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_toolkit.core.errors import InfeasibleConstraintError
from ofa_toolkit.pipelines.search.context import Limit, SearchContext
from ofa_toolkit.pipelines.search.figures import predicted
from ofa_toolkit.search.archive import Archive, SearchResult
from ofa_toolkit.search.evolution import EvolutionConfig, evolve
from ofa_toolkit.search.local import LocalConfig, refine
from ofa_toolkit.search.problem import Constraint, SearchProblem
from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import subnet_document

if TYPE_CHECKING:
    from ofa_toolkit.spaces.documents import PredictedFigures

_QUICK = LocalConfig(num_starts=4, num_pairs=64, max_rounds=8)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One subnet in the comparison.

    Attributes:
        name: Such as `chosen` or `best uniform`.
        subnet: The subnet.
        top1_percent: Predicted accuracy; None without a predictor.
        latency_ms: By `device:variant`.
        throughput_per_s: The same where a variant tells throughput alone.
        macs: Multiply-accumulates of one image.
        params: Parameters.
        is_feasible: Whether it meets the limits.
        predicted: All figures with provenance, as in `subnet.json`.
    """

    name: str
    subnet: Subnet
    top1_percent: float | None
    latency_ms: dict[str, float]
    throughput_per_s: dict[str, float]
    macs: int
    params: int
    is_feasible: bool
    predicted: PredictedFigures

    def document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            **subnet_document(self.subnet),
            **({} if self.top1_percent is None else {"top1_percent": self.top1_percent}),
            "latency_ms": self.latency_ms,
            **({"throughput_per_s": self.throughput_per_s} if self.throughput_per_s else {}),
            "macs": self.macs,
            "params": self.params,
            "is_feasible": self.is_feasible,
        }


def describe_candidate(
    context: SearchContext, name: str, row: Population, *, is_chosen: bool = True
) -> Candidate:
    """All figures of one encoded subnet `(1, genes)`, which the search chose or is compared with."""
    violations = context.problem().evaluate(row).is_feasible
    figures = predicted(context, row, is_chosen=is_chosen)
    return Candidate(
        name=name,
        subnet=Encoding(context.space).decode(row)[0],
        top1_percent=figures["top1_percent"]["value"] if context.accuracy else None,
        latency_ms={device: told["value"] for device, told in figures.get("latency_ms", {}).items()},
        throughput_per_s={
            device: told["value"] for device, told in figures.get("throughput_per_s", {}).items()
        },
        macs=figures["macs"]["value"],
        params=figures["params"]["value"],
        is_feasible=bool(violations[0]),
        predicted=figures,
    )


def not_binding(context: SearchContext, problem: SearchProblem, result: SearchResult) -> tuple[str, ...]:
    """Limits without which nothing better is found, in words."""
    idle = []
    for limit in context.limits:
        slack = -limit.constraint.violation(limit.constraint.figure(result.population[:1]))[0]
        if slack > 0 and not _is_binding(problem, limit.constraint, result):
            value = limit.shown(float(limit.constraint.figure(result.population[:1])[0]))
            idle.append(
                f"{_stated(limit)} is not binding: the chosen subnet has {value}; nothing better is found "
                "without the limit."
            )
    return tuple(idle)


def infeasible(context: SearchContext, seed: int) -> InfeasibleConstraintError:
    """The error for limits that no subnet meets: the nearest subnet, and the limits that would admit it."""
    config = EvolutionConfig(population_size=100, num_children=100, num_generations=15)
    problem = context.problem()
    nearest = evolve(problem.toward_feasibility(), config=config, seed=seed).population[:1]
    missed = [
        limit
        for limit, violation in zip(context.limits, problem.evaluate(nearest).violations[0], strict=True)
        if violation > 0
    ]
    values = [(limit, float(limit.constraint.figure(nearest)[0])) for limit in missed]
    stated = " and ".join(_stated(limit) for limit in context.limits)
    reached = ", ".join(f"{limit.shown(value)}{limit.where}" for limit, value in values)
    if len(context.limits) == 1:
        what = _EXTREME.get(context.limits[0].subject, "the nearest has")
        message = f"No subnet meets {stated}: {what} {limit_value(values)}"
    else:
        message = f"No subnet meets {stated} together: the nearest has {reached}"
    shape = summary(Encoding(context.space).decode(nearest)[0])
    hint = " ".join(f"{limit.option} {admitting(limit, value)}" for limit, value in values)
    return InfeasibleConstraintError(f"{message} ({shape}).", hint=hint)


def limit_value(values: list[tuple[Limit, float]]) -> str:
    """The single value, in its unit."""
    limit, value = values[0]
    return limit.shown(value)


def admitting(limit: Limit, value: float) -> str:
    """The nearest limit with three digits that admits a value, as one types it."""
    unit = limit.kind.print_units[0]
    for name in limit.kind.print_units[1:]:
        if value >= (limit.kind.units[name] if name else 1):
            unit = name
    number = value / (limit.kind.units[unit] if unit else 1.0)
    places = 2 - math.floor(math.log10(number))
    rounding = math.floor if limit.constraint.is_minimum else math.ceil
    rounded = rounding(round(number * 10**places, 6)) / 10**places
    text = f"{rounded:.{max(0, places)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + unit


def summary(subnet: Subnet) -> str:
    """A subnet in one line: resolution and, per stage, depth with kernel sizes and expand ratios."""
    stages = "; ".join(
        " ".join(f"k{k}e{e:g}" for k, e in zip(stage.kernel_sizes, stage.expand_ratios, strict=True))
        for stage in subnet.stages
    )
    return f"{subnet.resolution} px, stages: {stages}"


_EXTREME = {
    "latency": "the fastest takes",
    "MACs": "the smallest has",
    "parameters": "the smallest has",
    "peak activation memory": "the smallest needs",
    "accuracy": "the best reaches",
    "throughput": "the fastest reaches",
}


def _stated(limit: Limit) -> str:
    sign = ">=" if limit.constraint.is_minimum else "<="
    return f"{limit.subject} {sign} {limit.shown(limit.constraint.limit)}{limit.where}"


def _is_binding(problem: SearchProblem, constraint: Constraint, result: SearchResult) -> bool:
    """Whether a local search without the limit finds something better beyond it."""
    archive = Archive(problem.without(constraint))
    extremes = Encoding(problem.space).encode([problem.space.largest(), problem.space.smallest()])
    archive.evaluate(np.concatenate([result.population[:4], extremes]))
    refine(archive, config=_QUICK)
    found = archive.result()
    is_better = found.scores.objectives[:, 0] < result.scores.objectives[0, 0]
    is_beyond = constraint.violation(constraint.figure(found.population)) > 0
    return bool((is_better & is_beyond & found.scores.is_feasible).any())

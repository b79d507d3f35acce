"""Find the best subnet for a budget, and say what it is worth and what it was chosen against.

found = find_subnet(device="jetson-nano", latency="20ms")
found.subnet, found.predicted["top1_percent"]
found.write("subnet.json")
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ofa_toolkit.core import quantities
from ofa_toolkit.core.config import from_dict
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.pipelines.search.answer import Candidate, describe_candidate, infeasible, not_binding
from ofa_toolkit.pipelines.search.context import SearchContext
from ofa_toolkit.pipelines.search.request import DeviceRequest, SearchRequest
from ofa_toolkit.search.archive import SearchResult
from ofa_toolkit.search.baselines import exhaustive_search, random_search
from ofa_toolkit.search.evolution import EvolutionConfig, evolve
from ofa_toolkit.search.problem import SearchProblem
from ofa_toolkit.search.uniform import uniform_subnets
from ofa_toolkit.spaces.encoding import Encoding
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import SubnetFile, to_document, write_subnet
from ofa_toolkit.zoo.supernet import SupernetLike, load_supernet

Method = Literal["evolution", "random", "exhaustive"]

RANDOM_EVALUATIONS = 20_000


@dataclass(frozen=True, kw_only=True)
class FoundSubnet:
    """The answer of a search.

    Attributes:
        subnet: The best subnet found.
        space: Its search space: that of the supernet, as trained.
        supernet: Zoo name or folder it is cut from; None where only a space was searched.
        predicted: Every figure with its unit, interval and provenance, as in `subnet.json`.
        search: What was asked and how it was found, as in `subnet.json`.
        candidates: The chosen subnet beside the smallest, the largest and the best uniform one.
        runners_up: The next best subnets, best first.
        not_binding: Limits that cost nothing: without them the answer is no better.
        warnings: What to know about the data behind the answer.
    """

    subnet: Subnet
    space: SearchSpace
    supernet: str | None
    predicted: Mapping[str, Any]
    search: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    runners_up: tuple[Candidate, ...]
    not_binding: tuple[str, ...]
    warnings: tuple[str, ...]

    def file(self) -> SubnetFile:
        """The content of its `subnet.json`."""
        return SubnetFile(
            space=self.space,
            supernet=self.supernet,
            subnet=self.subnet,
            predicted=self.predicted,
            search=self.search,
        )

    def write(self, path: str | os.PathLike[str] = "subnet.json") -> None:
        """Write `subnet.json`, which `extract` and `export` read."""
        write_subnet(path, self.file())

    def document(self) -> dict[str, Any]:
        """Plain JSON values: the subnet file and all that is printed."""
        return {
            **to_document(self.file()),
            "candidates": [candidate.document() for candidate in self.candidates],
            "runners_up": [candidate.document() for candidate in self.runners_up],
            "not_binding": list(self.not_binding),
            "warnings": list(self.warnings),
        }


def find_subnet(
    *,
    supernet: SupernetLike | None = None,
    space: str | None = None,
    predictor: str | os.PathLike[str] | None = None,
    device: str | Sequence[str] = (),
    latency: str | float | Sequence[str | float] | None = None,
    throughput: str | float | Sequence[str | float] | None = None,
    macs: str | float | None = None,
    params: str | float | None = None,
    memory: str | float | None = None,
    accuracy: str | float | None = None,
    minimize: str | None = None,
    maximize: str = "accuracy",
    fix: Mapping[str, float | Sequence[float]] | None = None,
    maximum: Mapping[str, float] | None = None,
    minimum: Mapping[str, float] | None = None,
    confidence: float | None = None,
    method: Method = "evolution",
    effort: Mapping[str, Any] | None = None,
    seed: int = 0,
    tables: Iterable[str | os.PathLike[str]] = (),
) -> FoundSubnet:
    """Find the most accurate subnet within all limits, or the cheapest one that is accurate enough.

    Limits are texts with a unit (`"20ms"`, `"200M"`, `"500/s"`, `"8MB"`, `"75%"`) or numbers in ms, MACs,
    images per second, bytes and percent.

    Args:
        supernet: Zoo name or folder whose space and accuracy predictor are used; default OFA's MobileNetV3.
        space: Name of the search space, instead of or beside `supernet`.
        predictor: File of another accuracy predictor.
        device: `device` or `device:variant`, or several.
        latency: Longest time of one batch on the device; one for all devices or one each.
        throughput: Least images per second, likewise; takes a variant with a batch.
        macs: Most multiply-accumulates of one image.
        params: Most parameters.
        memory: Most bytes of live activations of one image.
        accuracy: Least predicted top-1.
        minimize: `latency[:device]`, `macs`, `params` or `memory`, instead of maximising accuracy.
        maximize: `accuracy`, or `macs`, which needs no accuracy predictor.
        fix: Allowed values by choice: resolution, depth, kernel_size, expand_ratio.
        maximum: Largest value by choice.
        minimum: Smallest value by choice.
        confidence: Limit what latency stays below with this probability, not its prediction.
        method: `evolution`, or the baselines `random` and `exhaustive`.
        effort: Fields of `EvolutionConfig`.
        seed: Equal seeds give equal answers.
        tables: Further folders of latency tables.

    Raises:
        InfeasibleConstraintError: No subnet meets the limits; the message names the nearest.
        MismatchError: Space, supernet, predictor and table do not belong together.
        OfaToolkitError: A name, a quantity or a file is wrong.
    """
    request = SearchRequest(
        supernet=None if supernet is None else load_supernet(supernet),
        space=space,
        predictor=None if predictor is None else Path(predictor),
        devices=device_requests(device, latency, throughput),
        macs=_quantity("macs", macs),
        params=_quantity("params", params),
        memory_bytes=_quantity("memory", memory),
        accuracy=_percent(accuracy),
        minimize=minimize,
        maximize=maximize,
        fix={name: _values(value) for name, value in (fix or {}).items()},
        maximum=dict(maximum or {}),
        minimum=dict(minimum or {}),
        confidence=confidence,
        tables=tuple(Path(folder) for folder in tables),
    )
    return search(request, method=method, effort=effort, seed=seed)


def search(
    request: SearchRequest,
    *,
    method: Method = "evolution",
    effort: Mapping[str, Any] | None = None,
    seed: int = 0,
    num_best: int = 8,
) -> FoundSubnet:
    """As `find_subnet`, from a request; `num_best` subnets are described, the best and the runners-up."""
    start = time.perf_counter()
    context = SearchContext(request)
    problem = context.problem()
    result = run(problem, method=method, effort=effort, seed=seed)
    if not result.is_feasible:
        raise infeasible(context, seed)
    best = result.population[:1]
    chosen = describe_candidate(context, "chosen", best)
    return FoundSubnet(
        subnet=Encoding(context.space).decode(best)[0],
        space=context.full_space,
        supernet=None if context.supernet is None else context.supernet.name,
        predicted=chosen.predicted,
        search={
            "objective": request.objective,
            "limits": limits_document(context),
            "method": method,
            "seed": seed,
            "num_evaluations": result.num_evaluations,
            "seconds": round(time.perf_counter() - start, 3),
        },
        candidates=(chosen, *_references(context, problem)),
        runners_up=tuple(
            describe_candidate(context, f"rank {rank}", result.population[rank - 1 : rank])
            for rank in range(2, 1 + min(num_best, int(result.scores.is_feasible.sum())))
        ),
        not_binding=not_binding(context, problem, result),
        warnings=(*context.warnings, *_notes(context, best)),
    )


def run(
    problem: SearchProblem, *, method: Method, effort: Mapping[str, Any] | None, seed: int
) -> SearchResult:
    """Run one of the methods."""
    if method == "exhaustive":
        return exhaustive_search(problem)
    if method == "random":
        wanted = dict(effort or {}).get("num_evaluations", RANDOM_EVALUATIONS)
        return random_search(problem, num_evaluations=int(wanted), seed=seed)
    if method != "evolution":
        raise ConfigError(f"Unknown method '{method}'; use evolution, random or exhaustive.")
    return evolve(problem, config=from_dict(EvolutionConfig, effort or {}), seed=seed)


def limits_document(context: SearchContext) -> list[dict[str, Any]]:
    """The limits as plain JSON values."""
    return [
        {
            "figure": limit.constraint.figure.name,
            "limit": limit.constraint.limit,
            "is_minimum": limit.constraint.is_minimum,
        }
        for limit in context.limits
    ]


def device_requests(
    device: str | Sequence[str],
    latency: str | float | Sequence[str | float] | None,
    throughput: str | float | Sequence[str | float] | None,
) -> tuple[DeviceRequest, ...]:
    """Devices with their limits: one limit for all, or one each in order.

    Raises:
        ConfigError: A limit without a device, or neither one limit nor one per device.
    """
    names = [device] if isinstance(device, str) else list(device)
    latencies = _per_device("latency", latency, names)
    throughputs = _per_device("throughput", throughput, names)
    return tuple(
        DeviceRequest(name=name, latency_ms=most, throughput=least)
        for name, most, least in zip(names, latencies, throughputs, strict=True)
    )


def _per_device(
    kind: str, given: str | float | Sequence[str | float] | None, names: Sequence[str]
) -> list[float | None]:
    values = [given] if given is None or isinstance(given, (str, int, float)) else list(given)
    parsed = [_quantity(kind, value) for value in values]
    if parsed in ([None], []):
        return [None] * len(names)
    if not names:
        raise ConfigError(f"A limit on {kind} needs a device.", hint="Name one: --device jetson-nano")
    if len(parsed) not in (1, len(names)):
        raise ConfigError(
            f"{len(parsed)} limits on {kind} for {len(names)} devices; give one, or one each in order."
        )
    return parsed * len(names) if len(parsed) == 1 else parsed


def _quantity(kind: str, value: str | float | None) -> float | None:
    if value is None or not isinstance(value, str):
        return value
    return quantities.kind(kind).parse(value)


def _percent(value: str | float | None) -> float | None:
    return 100 * quantities.parse_share(value) if isinstance(value, str) else value


def _values(value: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,)


def _references(context: SearchContext, problem: SearchProblem) -> list[Candidate]:
    """The smallest and largest subnet, and the best uniform one within the limits."""
    encoding = Encoding(context.space)
    references = [
        describe_candidate(context, "smallest", encoding.encode([context.space.smallest()])),
        describe_candidate(context, "largest", encoding.encode([context.space.largest()])),
    ]
    uniform = uniform_subnets(context.space)
    scores = problem.evaluate(uniform)
    feasible = np.flatnonzero(scores.is_feasible)
    if len(feasible):
        best = feasible[np.argmin(scores.objectives[feasible, 0])]
        references.append(describe_candidate(context, "best uniform", uniform[best : best + 1]))
    return references


def _notes(context: SearchContext, row: Any) -> list[str]:
    return [f"{name}: {note}" for name, bound in context.latencies.items() for note in bound.notes(row)]

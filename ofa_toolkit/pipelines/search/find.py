"""Find the best subnet for a budget, and say what it is worth and what it was chosen against.

found = find_subnet(device="jetson-nano", latency="20ms")
found.subnet, found.predicted["top1_percent"]
found.write("subnet.json")
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_toolkit.core.config import from_dict
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.pipelines.search.answer import Candidate, describe_candidate, infeasible, not_binding
from ofa_toolkit.pipelines.search.context import SearchContext
from ofa_toolkit.pipelines.search.request import SearchRequest
from ofa_toolkit.search.archive import SearchResult
from ofa_toolkit.search.baselines import exhaustive_search, random_search
from ofa_toolkit.search.evolution import EvolutionConfig, evolve
from ofa_toolkit.search.problem import SearchProblem
from ofa_toolkit.search.uniform import uniform_subnets
from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.subnet_file import SubnetFile, to_document, write_subnet
from ofa_toolkit.zoo.supernet import LoadedSupernet

if TYPE_CHECKING:
    from ofa_toolkit.spaces.documents import LimitDocument

RANDOM_EVALUATIONS = 20_000


@dataclass(frozen=True, kw_only=True)
class FoundSubnet(SubnetFile):
    """The answer of a search, which `extract` and `export_onnx` take.

    Attributes:
        candidates: The chosen subnet beside the smallest, the largest and the best uniform one.
        runners_up: The next best subnets, best first.
        not_binding: Limits that cost nothing: without them the answer is no better.
        warnings: Reservations about the data behind the answer.
        source: The supernet that was searched; None where a space alone was.
    """

    candidates: tuple[Candidate, ...]
    runners_up: tuple[Candidate, ...]
    not_binding: tuple[str, ...]
    warnings: tuple[str, ...]
    source: LoadedSupernet | None = field(default=None, compare=False, repr=False)

    def write(self, path: str | os.PathLike[str] = "subnet.json") -> None:
        """Write `subnet.json`, which `extract` and `export` read."""
        write_subnet(path, self)

    def document(self) -> dict[str, Any]:
        """Plain JSON values: the subnet file and all that is printed."""
        return {
            **to_document(self),
            "candidates": [candidate.document() for candidate in self.candidates],
            "runners_up": [candidate.document() for candidate in self.runners_up],
            "not_binding": list(self.not_binding),
            "warnings": list(self.warnings),
        }


@with_fields_of(SearchRequest)
def find_subnet(request: SearchRequest) -> FoundSubnet:
    """Find the most accurate subnet within all limits, or the cheapest one that is accurate enough.

    Limits are texts with a unit (`"20ms"`, `"200M"`, `"500/s"`, `"8MB"`, `"75%"`) or numbers in ms, MACs,
    images per second, bytes and percent. The parameters are the fields of `SearchRequest`.

    Raises:
        InfeasibleConstraintError: No subnet meets the limits; the message names the nearest.
        MismatchError: Space, supernet, predictor and table do not belong together.
        OfaToolkitError: A name, a quantity or a file is wrong.
    """
    return search(request)


def search(request: SearchRequest) -> FoundSubnet:
    """As `find_subnet`, from a request."""
    start = time.perf_counter()
    context = SearchContext(request)
    problem = context.problem()
    result = run(problem, request, request.effort)
    if not result.is_feasible:
        raise infeasible(context, request.seed)
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
            "method": request.method,
            "seed": request.seed,
            "num_evaluations": result.num_evaluations,
            "seconds": round(time.perf_counter() - start, 3),
        },
        candidates=(chosen, *_references(context, problem)),
        runners_up=tuple(
            describe_candidate(context, f"rank {rank}", result.population[rank - 1 : rank])
            for rank in range(2, 1 + min(request.num_best, int(result.scores.is_feasible.sum())))
        ),
        not_binding=not_binding(context, problem, result),
        warnings=(*context.warnings_of(best), *_above_largest(context, best)),
        source=context.supernet,
    )


def run(problem: SearchProblem, request: SearchRequest, effort: Mapping[str, Any]) -> SearchResult:
    """Run the method that is asked for."""
    if request.method == "exhaustive":
        return exhaustive_search(problem)
    if request.method == "random":
        wanted = effort.get("num_evaluations", RANDOM_EVALUATIONS)
        return random_search(problem, num_evaluations=int(wanted), seed=request.seed)
    if request.method != "evolution":
        raise ConfigError(f"Unknown method '{request.method}'; use evolution, random or exhaustive.")
    return evolve(problem, config=from_dict(EvolutionConfig, effort), seed=request.seed)


def limits_document(context: SearchContext) -> list[LimitDocument]:
    """The limits as plain JSON values."""
    return [
        {
            "figure": limit.constraint.figure.name,
            "limit": limit.constraint.limit,
            "is_minimum": limit.constraint.is_minimum,
        }
        for limit in context.limits
    ]


def _references(context: SearchContext, problem: SearchProblem) -> list[Candidate]:
    """The smallest and largest subnet, and the best uniform one within the limits."""
    encoding = Encoding(context.space)
    references = [
        describe_candidate(context, "smallest", encoding.encode([context.space.smallest()]), is_chosen=False),
        describe_candidate(context, "largest", encoding.encode([context.space.largest()]), is_chosen=False),
    ]
    uniform = uniform_subnets(context.space)
    scores = problem.evaluate(uniform)
    feasible = np.flatnonzero(scores.is_feasible)
    if len(feasible):
        best = feasible[np.argmin(scores.objectives[feasible, 0])]
        references.append(describe_candidate(context, "best uniform", uniform[best : best + 1]))
    return references


def _above_largest(context: SearchContext, best: Population) -> tuple[str, ...]:
    """What to know of an answer that a predictor puts above the largest subnet, unchecked."""
    accuracy = context.accuracy
    if accuracy is None or accuracy.is_calibrated_for_search:
        return ()
    ends = np.concatenate([best, Encoding(context.space).encode([context.space.largest()])])
    chosen, largest = accuracy.predict(ends)
    told = (
        f"Predicted {chosen - largest:.2f} points above the largest subnet: a search finds what its "
        "predictor overrates, and by how much is unchecked here."
    )
    return (told,) if chosen > largest else ()

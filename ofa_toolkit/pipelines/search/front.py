"""Fronts: the best accuracy for every budget, and how they are written to files."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_toolkit.core import files
from ofa_toolkit.core.csv_table import csv_table
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.figures import finish_axes, new_figure, png
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.pipelines.search.answer import infeasible
from ofa_toolkit.pipelines.search.colors import resolution_colors
from ofa_toolkit.pipelines.search.context import SearchContext
from ofa_toolkit.pipelines.search.figures import predicted
from ofa_toolkit.pipelines.search.find import limits_document, run
from ofa_toolkit.pipelines.search.request import FrontRequest
from ofa_toolkit.search.archive import SearchResult
from ofa_toolkit.search.pareto import pareto_rows
from ofa_toolkit.search.problem import Objective, Values
from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.space_file import space_reference
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import subnet_document

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.search.documents import FrontDocument
    from ofa_toolkit.spaces.documents import PredictedFigures, SearchDocument

FORMAT = FileFormat("ofa-toolkit/front", 1, "a front")
SUFFIXES = (".csv", ".json", ".png")


def front_suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a file that a front is written to; call it before the work starts.

    Raises:
        ConfigError: It is none that a front is written as.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"'{path}': a front is written as {', '.join(SUFFIXES)}, not '{suffix}'.")
    return suffix


LABELS = {
    "macs": "MACs of one image (millions)",
    "params": "Parameters (millions)",
    "memory": "Peak activation memory (MB)",
}
_SCALES = {"macs": 1e6, "params": 1e6, "memory": 1e6}


@dataclass(frozen=True, kw_only=True)
class Front:
    """Subnets that no other one beats in accuracy and all costs at once, cheapest first.

    Attributes:
        space: Search space of the subnets: that of the supernet, as trained.
        supernet: Zoo name or folder whose accuracy predictor judged them.
        costs: Names of the costs, such as `latency:jetson-nano:nvidia-tensorrt-fp16-1`, `macs`.
        subnets: The members.
        top1_percent: Predicted accuracy of each.
        values: Costs `(members, costs)`, in ms, MACs, parameters and bytes.
        predicted: All figures of each with provenance, as in `subnet.json`.
        search: The question, the method and its effort.
        warnings: Reservations about the data behind it.
    """

    space: SearchSpace
    supernet: str
    costs: tuple[str, ...]
    subnets: tuple[Subnet, ...]
    top1_percent: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    predicted: tuple[PredictedFigures, ...]
    search: SearchDocument
    warnings: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Plain JSON values."""
        document: FrontDocument = {
            "space": space_reference(self.space),
            "supernet": self.supernet,
            "costs": list(self.costs),
            "members": [
                {
                    **subnet_document(subnet),
                    "top1_percent": accuracy,
                    "costs": list(values),
                    "predicted": figures,
                }
                for subnet, accuracy, values, figures in zip(
                    self.subnets, self.top1_percent, self.values, self.predicted, strict=True
                )
            ],
            "search": self.search,
            "warnings": list(self.warnings),
        }
        return {**FORMAT.header, **document}

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write as `.csv`, `.json` or `.png`, by the suffix.

        Raises:
            ConfigError: Another suffix.
        """
        suffix = front_suffix(path)
        if suffix == ".json":
            files.write_json(path, self.document())
        elif suffix == ".csv":
            files.write_text(path, self.csv())
        else:
            self._write_png(path)

    def csv(self) -> str:
        """One line per member; depths, kernel sizes and expand ratios joined by dashes, stages by slashes."""
        rows: list[list[Any]] = []
        for subnet, accuracy, values in zip(self.subnets, self.top1_percent, self.values, strict=True):
            stages = subnet.stages
            architecture = (
                "-".join(str(stage.depth) for stage in stages),
                "/".join("-".join(str(k) for k in stage.kernel_sizes) for stage in stages),
                "/".join("-".join(f"{e:g}" for e in stage.expand_ratios) for stage in stages),
                "-".join(str(stage.width) for stage in stages if stage.width is not None),
            )
            rows.append([accuracy, *values, subnet.resolution, *architecture])
        return csv_table(
            ["top1_percent", *self.costs, "resolution", "depths", "kernel_sizes", "expand_ratios", "widths"],
            rows,
        )

    def _write_png(self, path: str | os.PathLike[str]) -> None:
        figure, axes = new_figure(5.5 * len(self.costs), 4, columns=len(self.costs))
        for column, (cost, axis) in enumerate(zip(self.costs, axes, strict=True)):
            values = np.array([row[column] for row in self.values]) / _SCALES.get(cost, 1)
            resolutions = np.array([subnet.resolution for subnet in self.subnets])
            for resolution, color in resolution_colors(resolutions.tolist()).items():
                own = resolutions == resolution
                axis.plot(
                    values[own],
                    np.array(self.top1_percent)[own],
                    "o",
                    ms=4,
                    color=color,
                    label=f"{resolution} px",
                )
            finish_axes(axis, label(cost), "Predicted top-1 (%)", title="Resolution", fontsize="small")
        figure.suptitle(f"{self.supernet}: predicted, not measured", fontsize="medium")
        files.write_bytes(path, png(figure))


def label(cost: str) -> str:
    """A cost in words, with its unit."""
    if cost.startswith("latency:"):
        return f"Latency on {cost.partition(':')[2]} (ms)"
    return LABELS[cost]


@with_fields_of(FrontRequest)
def find_front(request: FrontRequest) -> Front:
    """Find all subnets that no other one beats in accuracy and the costs, within the limits.

    The parameters are the fields of `FrontRequest`; those of `find_subnet` mean the same here.

    Raises:
        InfeasibleConstraintError: No subnet meets the limits.
        OfaToolkitError: A name, a quantity or a file is wrong, or parts do not belong together.
    """
    return search_front(request)


def search_front(request: FrontRequest) -> Front:
    """As `find_front`, from a request.

    Raises:
        ConfigError: Something else than accuracy is to be made large or small.
    """
    start = time.perf_counter()
    if request.objective != "accuracy":
        raise ConfigError("A front is of accuracy against costs; it does not go with minimize or maximize.")
    context = SearchContext(request)
    figures = [context.figure(cost) for cost in request.costs]
    names = [figure.name for figure in figures]
    objectives = [
        Objective(figure=context.figure("accuracy"), is_maximized=True),
        *(Objective(figure=figure) for figure in figures),
    ]
    wanted = {"population_size": 200, "num_children": 200, "num_generations": 60, **request.effort}
    result = run(context.problem(objectives), request, wanted)
    if not result.is_feasible:
        raise infeasible(context, request.seed)
    rows, values = _by_cost(context, result)
    described = tuple(predicted(context, rows[index : index + 1]) for index in range(len(rows)))
    return Front(
        space=context.full_space,
        supernet=context.supernet_name,
        costs=tuple(names),
        subnets=tuple(Encoding(context.space).decode(rows)),
        top1_percent=tuple(float(figures["top1_percent"]["value"]) for figures in described),
        values=tuple(tuple(float(v) for v in row) for row in values),
        predicted=described,
        search={
            "objective": ["accuracy", *names],
            "limits": limits_document(context),
            "method": request.method,
            "seed": request.seed,
            "num_evaluations": result.num_evaluations,
            "seconds": round(time.perf_counter() - start, 3),
        },
        warnings=context.warnings_of(rows),
    )


def _by_cost(context: SearchContext, result: SearchResult) -> tuple[Population, Values]:
    """Members and their costs `(members, costs)`, cheapest first.

    What is expected of a subnet that a search chose has a ceiling: of those that reach it, only the ones that
    no other undercuts are members.
    """
    rows, costs = result.population, result.scores.objectives[:, 1:]
    assert context.accuracy is not None
    expected = context.accuracy.predict_chosen(rows).round(context.figure("accuracy").decimals)
    kept = pareto_rows(np.column_stack([-expected, costs]))
    order = kept[np.argsort(costs[kept, 0], kind="stable")]
    return rows[order], costs[order]

"""Compare supernets by the most accurate subnet of each part of their range of cost.

DϵpS (Annavajjala et al. 2024), section 5.1: the range is cut into equal buckets (six in the paper) and the
most accurate subnet of each is taken. Departure: the best is chosen on held-out images and reported on
test images, so that no figure is the best of many tries on the images it is reported for.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core import files
from ofa_toolkit.core.errors import ConfigError, MismatchError
from ofa_toolkit.core.figures import finish_axes, new_figure, png
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets import Split
from ofa_toolkit.evaluation.accuracy import Accuracy
from ofa_toolkit.evaluation.pareto_metrics import best_per_bucket, bucket_index, mean_pareto_accuracy
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator, open_evaluator
from ofa_toolkit.pipelines.evaluation.request import ParetoRequest
from ofa_toolkit.spaces import Encoding, SearchSpace, Subnet, restrict, sample_population
from ofa_toolkit.spaces.space_file import typed_space
from ofa_toolkit.spaces.subnet_file import subnet_document

CostOf = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float64]]
"""From an encoded population `(N, genes)` to the cost of each row, `(N,)`."""

_SAMPLES = 400


@dataclass(frozen=True, kw_only=True)
class PublishedPoint:
    """A network of the paper's Table 1, on ImageNet."""

    name: str
    mmacs: float
    top1_percent: float


TABLE_1 = (
    PublishedPoint(name="OFA", mmacs=67, top1_percent=70.5),
    PublishedPoint(name="DϵpS", mmacs=67, top1_percent=72.3),
    PublishedPoint(name="OFA", mmacs=141, top1_percent=71.6),
    PublishedPoint(name="DϵpS", mmacs=141, top1_percent=73.7),
    PublishedPoint(name="FBNetV2", mmacs=238, top1_percent=76.0),
    PublishedPoint(name="BigNAS", mmacs=242, top1_percent=76.5),
    PublishedPoint(name="OFA", mmacs=230, top1_percent=76.0),
    PublishedPoint(name="DϵpS", mmacs=230, top1_percent=77.3),
    PublishedPoint(name="MnasNet", mmacs=315, top1_percent=75.2),
    PublishedPoint(name="ProxylessNAS", mmacs=320, top1_percent=74.6),
    PublishedPoint(name="FBNetV2", mmacs=325, top1_percent=77.2),
    PublishedPoint(name="MobileNetV3", mmacs=356, top1_percent=76.6),
    PublishedPoint(name="EfficientNet-B0", mmacs=390, top1_percent=77.3),
)
"""Table 1 of DϵpS (Annavajjala et al. 2024): published accuracies, not measured here."""


@dataclass(frozen=True, kw_only=True)
class ParetoPoint:
    """The most accurate subnet of one bucket.

    Attributes:
        low: Start of the bucket, in the axis's unit.
        high: End of it.
        cost: Cost of the subnet, in the unit of the axis.
        num_candidates: Subnets judged in the bucket.
        validation_top1_percent: Held-out accuracy, by which it was chosen.
        num_validation_images: On how many images.
        test_top1_percent: On images that chose nothing.
        num_test_images: Number of test images.
        architecture: As in `subnet.json`.
    """

    low: float
    high: float
    cost: float
    num_candidates: int
    validation_top1_percent: float
    num_validation_images: int
    test_top1_percent: float
    num_test_images: int
    architecture: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ParetoCurve:
    """One supernet's curve.

    Attributes:
        supernet: As the user named it.
        points: One per bucket that has a candidate.
        mean_pareto_accuracy_percent: Area under test accuracy over normalised cost.
    """

    supernet: str
    points: tuple[ParetoPoint, ...]
    mean_pareto_accuracy_percent: float


@dataclass(frozen=True, kw_only=True)
class ParetoStudy:
    """Curves of several supernets over one range.

    Attributes:
        axis: `MMACs`, or `ms on DEVICE (predicted)`.
        low: Smallest cost of the space.
        high: Largest.
        curves: One per supernet.
        published: Points to draw beside them, where the images are ImageNet's.
    """

    axis: str
    low: float
    high: float
    curves: tuple[ParetoCurve, ...]
    published: tuple[PublishedPoint, ...] = ()


def macs_cost(space: SearchSpace) -> CostOf:
    """Cost in 10^6 multiply-accumulates."""
    complexity = PopulationComplexity(space)
    return lambda population: complexity.macs(population) / 1e6


def latency_cost(name: str, space: SearchSpace, tables: Sequence[Path] = ()) -> CostOf:
    """Cost in milliseconds on a device, predicted by its latency table.

    Raises:
        UnknownNameError: No such device.
        LatencyTableError: The table does not cover the space.
    """
    from ofa_toolkit.latency.table import load_table

    bound = load_table(name, tables, space=typed_space(space)).bind(space)
    return lambda population: np.asarray(bound.predict(population), dtype=float)


def study(request: ParetoRequest, *, reporter: Reporter = SILENT) -> ParetoStudy:
    """Measure the same candidates of each supernet and pick the best of each bucket.

    Args:
        request: Supernets, images, cost axis and effort.
        reporter: Hears how far it is.

    Raises:
        MismatchError: The supernets are of different spaces.
        OfaToolkitError: One of them, the images or the table is missing, or they do not belong together.
    """
    evaluators = [open_evaluator(supernet, request) for supernet in request.supernet]
    space = _common_space(evaluators)
    tables = [Path(folder) for folder in request.tables]
    if request.latency_on is None:
        cost_of, axis = macs_cost(space), "MMACs"
    else:
        cost_of = latency_cost(request.latency_on, space, tables)
        axis = f"ms on {request.latency_on} (predicted)"
    encoding = Encoding(space)
    low, high = cost_of(encoding.encode([space.smallest(), space.largest()])).tolist()
    subnets = candidates(space, cost_of, (low, high), request.buckets, request.per_bucket, request.seed)
    costs = cost_of(encoding.encode(subnets))
    total = len(evaluators) * (len(subnets) + request.buckets)
    done = itertools.count()

    def judge(evaluator: Evaluator, subnet: Subnet, split: Split) -> Accuracy:
        reporter.progress(Progress("Measuring subnets", next(done), total))
        return evaluator.accuracy(subnet, split)

    return ParetoStudy(
        axis=axis,
        low=low,
        high=high,
        curves=tuple(
            _curve(each, subnets, costs, (low, high), request.buckets, partial(judge, each))
            for each in evaluators
        ),
        # The published points are MACs on ImageNet.
        published=TABLE_1 if request.data.startswith("imagenet:") and request.latency_on is None else (),
    )


def _curve(
    evaluator: Evaluator,
    subnets: Sequence[Subnet],
    costs: npt.NDArray[np.float64],
    cost_range: tuple[float, float],
    num_buckets: int,
    judge: Callable[[Subnet, Split], Accuracy],
) -> ParetoCurve:
    judged = [judge(subnet, "validation") for subnet in subnets]
    validation = np.array([accuracy.top1_percent for accuracy in judged])
    index = bucket_index(costs, num_buckets, cost_range)
    points = []
    for number, bucket in enumerate(best_per_bucket(costs, validation, num_buckets, cost_range)):
        if bucket.best is None:
            continue
        test = judge(subnets[bucket.best], "test")
        points.append(
            ParetoPoint(
                low=bucket.low,
                high=bucket.high,
                cost=float(costs[bucket.best]),
                num_candidates=int((index == number).sum()),
                validation_top1_percent=float(validation[bucket.best]),
                num_validation_images=judged[bucket.best].num_images,
                test_top1_percent=test.top1_percent,
                num_test_images=test.num_images,
                architecture=subnet_document(subnets[bucket.best]),
            )
        )
    mean = mean_pareto_accuracy(
        np.array([p.cost for p in points]), np.array([p.test_top1_percent for p in points]), cost_range
    )
    name = evaluator.supernet.name
    return ParetoCurve(supernet=name, points=tuple(points), mean_pareto_accuracy_percent=mean)


def candidates(
    space: SearchSpace,
    cost_of: CostOf,
    cost_range: tuple[float, float],
    num_buckets: int,
    per_bucket: int,
    seed: int,
) -> list[Subnet]:
    """Random subnets in every bucket, the smallest and the largest among them.

    Uniform sampling hardly ever reaches the ends of the range; samples of the space's contiguous
    restrictions (its shallow and narrow part, its deep and wide part, ...) do.
    """
    stream = generator(seed, "pareto candidates")
    encoding = Encoding(space)
    rows = [encoding.encode([space.smallest(), space.largest()])]
    for part in _restrictions(space):
        # Resolution indices of the part are those of the whole: restrictions keep all of them.
        subnets = Encoding(part).decode(sample_population(part, _SAMPLES // 8, stream))
        rows.append(encoding.encode(subnets))
    population = np.unique(np.concatenate(rows), axis=0)
    costs = cost_of(population)
    index = bucket_index(costs, num_buckets, cost_range)
    smallest, largest = encoding.encode([space.smallest()])[0], encoding.encode([space.largest()])[0]
    chosen = []
    for number in range(num_buckets):
        members = stream.permutation(np.flatnonzero(index == number))
        is_end = [(population[m] == smallest).all() or (population[m] == largest).all() for m in members]
        # A stable sort on "is no end" puts the extremes first.
        members = members[np.argsort(~np.array(is_end, dtype=bool), kind="stable")]
        chosen += list(members[:per_bucket])
    return encoding.decode(population[sorted(int(row) for row in chosen)])


def _restrictions(space: SearchSpace) -> list[SearchSpace]:
    """The space, and its parts with contiguous runs of depths and expand ratios."""
    if any(stage.compound is not None for stage in space.stages):
        return [space]
    depths = sorted({d for stage in space.stages for d in stage.depths if len(stage.depths) > 1})
    ratios = sorted(
        {e for stage in space.stages for e in stage.expand_ratios if len(stage.expand_ratios) > 1}
    )
    if not depths or not ratios:
        return [space]
    parts = [space]
    for d, e in itertools.product(_runs(depths), _runs(ratios)):
        # Where stages differ, a run may leave one of them nothing: no such part then.
        with contextlib.suppress(ConfigError):
            parts.append(restrict(space, depths=[int(value) for value in d], expand_ratios=e))
    return parts


def _runs(values: Sequence[float]) -> list[list[float]]:
    return [
        list(values[i:j]) for i in range(len(values)) for j in range(i + 1, len(values) + 1) if j - i <= 2
    ]


def _common_space(evaluators: Sequence[Evaluator]) -> SearchSpace:
    first, *others = (evaluator.supernet for evaluator in evaluators)
    for other in (first, *others):
        other.check_has_choice()
        if other.trained_space.identity != first.trained_space.identity:
            raise MismatchError(
                f"'{first.name}' and '{other.name}' have other subnets ({first.trained_space.name}, "
                f"{other.trained_space.name}): curves over one range need one space."
            )
    return first.trained_space


def draw(result: ParetoStudy, path: Path) -> None:
    """Write the curves as a PNG."""
    figure, (axes,) = new_figure()
    for curve in result.curves:
        axes.plot(
            [point.cost for point in curve.points],
            [point.test_top1_percent for point in curve.points],
            marker="o",
            label=f"{curve.supernet} (mean {curve.mean_pareto_accuracy_percent:.2f} %)",
        )
    for published in result.published:
        axes.plot(published.mmacs, published.top1_percent, marker="x", color="grey", linestyle="none")
        axes.annotate(published.name, (published.mmacs, published.top1_percent), fontsize=7)
    finish_axes(axes, result.axis, "Test top-1 (%)")
    files.write_bytes(path, png(figure))

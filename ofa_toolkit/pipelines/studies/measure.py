"""Measures a trained run of a study: the same candidates as all other runs, and what it cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.version import __version__
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.evaluation.pareto_metrics import best_per_bucket, mean_pareto_accuracy
from ofa_toolkit.latency.measuring.system import cpu_name
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator, open_evaluator
from ofa_toolkit.pipelines.evaluation.pareto import candidates, macs_cost
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.pipelines.studies.definition import StudyConfig, StudyRun, runs_of
from ofa_toolkit.pipelines.studies.folder import StudyFolder
from ofa_toolkit.pipelines.studies.results import (
    CurveResult,
    EpochResult,
    PhaseResult,
    RunResult,
    SubnetAccuracy,
    write_result,
)
from ofa_toolkit.spaces import Encoding, SearchSpace, Subnet
from ofa_toolkit.spaces.containment import is_within
from ofa_toolkit.training import run_folder
from ofa_toolkit.training.algorithm import Algorithm
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.cost import macs_per_image
from ofa_toolkit.training.metrics import METRICS_FILE, read_metrics


def measure_run(folder: StudyFolder, name: str) -> Path:
    """Measure a trained run and write its result file.

    Raises:
        ConfigError: The study has no such run.
        OfaToolkitError: It is not trained yet, or its images are missing.
    """
    study = folder.study()
    run = _find(study, name)
    trained = folder.run(name)
    config = run_folder.read_config(trained)
    request = EvaluationRequest(
        data=run.data,
        recalibration_images=config.validation.recalibration_images,
        threads=study.threads,
    )
    # Held-out images are those of the training run.
    evaluator = open_evaluator(str(trained), request)
    dataset = evaluator.dataset
    own = _trained_space(config, dataset.num_classes)
    curves = [
        _curve(evaluator, title, space, study, is_trained=is_within(space, own))
        for title, space in space_titles(study, dataset.num_classes).items()
    ]
    result = RunResult(
        label=run.variant.label,
        seed=run.seed,
        command=run.printed_command(),
        epochs=config.training.epochs,
        num_training_images=dataset.num_images("train"),
        phases=_phases(trained, config, dataset),
        epoch_curve=_epoch_curve(trained),
        curves=tuple(curves),
        conditions={
            "ofa_toolkit": __version__,
            "torch": torch.__version__,
            "processor": _processor(evaluator.device),
            "device": str(evaluator.device),
        },
    )
    write_result(folder.result(name), result)
    return folder.result(name)


def _processor(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def _find(study: StudyConfig, name: str) -> StudyRun:
    for run in runs_of(study):
        if run.name == name:
            return run
    raise ConfigError(f"The study has no run '{name}'.", hint="ofa-tk study status --out DIR lists them.")


def _algorithm(config: RunConfig, num_classes: int) -> Algorithm:
    return config.algorithm.build(config, config.space.trained(num_classes))


def _trained_space(config: RunConfig, num_classes: int) -> SearchSpace:
    """What a run trains in the end: CompOFA couples the choices of the space it is given."""
    return _algorithm(config, num_classes).phases[-1].space


def space_titles(study: StudyConfig, num_classes: int) -> dict[str, SearchSpace]:
    """The distinct spaces that the runs of a study train, by a title of their own."""
    found: dict[str, SearchSpace] = {}
    for run in runs_of(study):
        config = run.config()
        space = _trained_space(config, num_classes)
        if space.identity in {known.identity for known in found.values()}:
            continue
        title = space.name + _part(config, num_classes)
        # Files of the user may hold two spaces of one name.
        found[f"{title} {space.identity[:8]}" if title in found else title] = space
    return found


def _part(config: RunConfig, num_classes: int) -> str:
    """Which part of its space a run trains, in brackets; nothing for all of it."""
    space, told = config.space, []
    if space.trained(num_classes).identity != space.whole(num_classes).identity:
        told = [name for name in ("depths", "kernel_sizes", "expand_ratios") if getattr(space, name)]
    if space.resolutions and set(space.resolutions) != set(space.base.resolutions):
        told.append("resolutions")
    parts = [
        f"{name.replace('_', ' ')} {', '.join(f'{value:g}' for value in getattr(space, name))}"
        for name in told
    ]
    return f" ({'; '.join(parts)})" if parts else ""


def _curve(
    evaluator: Evaluator, title: str, space: SearchSpace, study: StudyConfig, *, is_trained: bool
) -> CurveResult:
    cost_of, encoding = macs_cost(space), Encoding(space)

    def judged(subnet: Subnet, cost: float) -> SubnetAccuracy:
        top1 = evaluator.accuracy(subnet, "validation").top1_percent
        return SubnetAccuracy(mmacs=cost, validation_top1_percent=top1)

    def tested(subnet: Subnet, before: SubnetAccuracy) -> SubnetAccuracy:
        return replace(before, test_top1_percent=evaluator.accuracy(subnet, "test").top1_percent)

    ends = [space.smallest(), space.largest()]
    low, high = cost_of(encoding.encode(ends)).tolist()
    subnets = candidates(
        space, cost_of, (low, high), study.num_buckets, study.candidates_per_bucket, study.candidate_seed
    )
    costs = cost_of(encoding.encode(subnets))
    order = np.argsort(costs, kind="stable")
    subnets, costs = [subnets[index] for index in order], costs[order]
    found = [judged(subnet, cost) for subnet, cost in zip(subnets, costs.tolist(), strict=True)]
    accuracies = np.array([subnet.validation_top1_percent for subnet in found])
    buckets = best_per_bucket(costs, accuracies, study.num_buckets, (low, high))
    points = [tested(subnets[b.best], found[b.best]) for b in buckets if b.best is not None]
    smallest, largest = (tested(end, judged(end, cost)) for end, cost in zip(ends, (low, high), strict=True))
    return CurveResult(
        space=title,
        is_trained=is_trained,
        smallest=smallest,
        largest=largest,
        candidates=tuple(found),
        points=tuple(points),
        mean_pareto_accuracy_percent=mean_pareto_accuracy(
            np.array([point.mmacs for point in points]),
            np.array([point.test_top1_percent for point in points], dtype=np.float64),
            (low, high),
        ),
    )


def _phases(trained: Path, config: RunConfig, dataset: ImageDataset) -> tuple[PhaseResult, ...]:
    algorithm = _algorithm(config, dataset.num_classes)
    steps_per_epoch = dataset.steps_per_epoch(config.training.batch_size)
    costs = {cost["name"]: cost for cost in run_folder.read_summary(trained)["cost"]}
    return tuple(
        PhaseResult(
            name=phase.name,
            updates=costs[phase.name]["steps"],
            device_hours=costs[phase.name]["device_hours"],
            processor_hours=costs[phase.name].get("processor_hours"),
            forward_macs=macs_per_image(algorithm, phase, steps_per_epoch)
            * costs[phase.name]["steps"]
            * config.training.batch_size,
        )
        for phase in algorithm.phases
    )


def _epoch_curve(trained: Path) -> tuple[EpochResult, ...]:
    return tuple(
        EpochResult(epoch=line["epoch"] + 1, phase=line["phase"], top1_percent=line["top1_largest"])
        for line in read_metrics(trained / METRICS_FILE)
        if line["kind"] == "epoch" and line.get("top1_largest") is not None
    )

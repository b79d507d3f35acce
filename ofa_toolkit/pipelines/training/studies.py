"""The training figures of the DϵpS paper for one's own runs: initialisation, gradients, epochs."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import files
from ofa_toolkit.core.csv_table import csv_table
from ofa_toolkit.core.errors import CheckpointError, DataError
from ofa_toolkit.core.figures import finish_axes, new_figure, png
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.core.rng import generator
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator, open_evaluator
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.spaces import SearchSpace, Subnet, lower, restrict
from ofa_toolkit.training import run_folder
from ofa_toolkit.training.config import LoopConfig
from ofa_toolkit.training.diagnostics import LayerGradients, compare_gradients
from ofa_toolkit.training.metrics import METRICS_FILE, read_metrics

_GRADIENT_NETWORKS = 4
_GRADIENT_BATCHES = 4
_GRADIENT_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class InitializationPoint:
    """Accuracy of one uniform subnet cut from a full network trained so far and no further (Figure 2).

    Attributes:
        trained_percent: Share of the epochs after which the weights were kept.
        subnet: `depth D, expand ratio E`.
        mmacs: Cost of the subnet in 10^6 multiply-accumulates.
        top1_percent: Batch norm recalibrated.
    """

    trained_percent: int
    subnet: str
    mmacs: float
    top1_percent: float


def initialization_study(
    run: str, request: EvaluationRequest, *, reporter: Reporter = SILENT
) -> list[InitializationPoint]:
    """Measure the uniform subnets of every snapshot of a run.

    Args:
        run: A run folder with snapshots.
        request: Images.
        reporter: Hears how far it is.

    Raises:
        CheckpointError: The run kept no snapshots.
    """
    folder = Path(run) / run_folder.SNAPSHOTS_FOLDER
    snapshots = sorted(path for path in folder.glob("*") if path.name.isdecimal())
    if not snapshots:
        raise CheckpointError(
            f"'{run}' has no snapshots of a network in training.",
            hint="Train with --set checkpoints.snapshots=[0.3,0.5,0.65,1.0] --set algorithm.warmup_share=1",
        )
    points = []
    for number, snapshot in enumerate(snapshots):
        evaluator = open_evaluator(snapshot, request)
        chosen = named_uniform_subnets(evaluator.supernet.trained_space)
        for index, (name, subnet) in enumerate(chosen.items()):
            done, total = number * len(chosen) + index, len(snapshots) * len(chosen)
            reporter.progress(Progress("Measuring subnets", done, total))
            points.append(
                InitializationPoint(
                    trained_percent=int(snapshot.name),
                    subnet=name,
                    mmacs=count_macs(lower(evaluator.supernet.space, subnet)) / 1e6,
                    top1_percent=evaluator.accuracy(subnet).top1_percent,
                )
            )
    return points


def named_uniform_subnets(space: SearchSpace) -> dict[str, Subnet]:
    """Subnets with one depth and one expand ratio throughout and the largest kernels, cheapest first."""
    depths = sorted({d for stage in space.stages for d in stage.depths if len(stage.depths) > 1})
    ratios = sorted({e for s in space.stages for e in s.expand_ratios if len(s.expand_ratios) > 1})
    chosen = {}
    for depth in depths:
        for ratio in ratios:
            part = restrict(space, depths=[depth], expand_ratios=[ratio])
            chosen[f"depth {depth}, expand ratio {ratio:g}"] = part.largest()
    return dict(sorted(chosen.items(), key=lambda item: count_macs(lower(space, item[1]))))


def gradient_study(
    evaluator: Evaluator,
    *,
    epsilon: float,
    seed: int,
) -> list[LayerGradients]:
    """Compare full, shrinking and epsilon-shrinking gradients on training images (Figure 3)."""
    batches = evaluator.dataset.batches(
        "train",
        _GRADIENT_BATCH,
        train_transforms=True,
        limit=_GRADIENT_BATCHES * _GRADIENT_BATCH,
        seed=seed,
        device=evaluator.device,
    )
    return compare_gradients(
        copy.deepcopy(evaluator.supernet.network).to(evaluator.device),
        evaluator.supernet.trained_space,
        list(batches),
        epsilon=epsilon,
        num_networks=_GRADIENT_NETWORKS,
        config=LoopConfig(epochs=1, batch_size=_GRADIENT_BATCH),
        generator=generator(seed, "gradient study"),
    )


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A figure of one run over its epochs or updates."""

    run: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def full_network_accuracy(runs: Sequence[str]) -> list[Curve]:
    """Validation accuracy of the largest subnet over epochs, of each run (Figure 7b)."""
    curves = []
    for run in runs:
        lines = [line for line in _metrics(run) if line["kind"] == "epoch" and "top1_largest" in line]
        curves.append(
            Curve(
                run=run,
                x=tuple(line["epoch"] + 1 for line in lines),
                y=tuple(line["top1_largest"] for line in lines),
            )
        )
    return curves


def gradient_norms(runs: Sequence[str]) -> list[Curve]:
    """Norm of the gradient over shrinking steps, relative to the full network's at first (Figure 4).

    Raises:
        DataError: A run recorded no norms.
    """
    curves = []
    for run in runs:
        lines = [
            line
            for line in _metrics(run)
            if "gradient_norm" in line and line["phase"] == "shrinking" and line["first_gradient_norm"]
        ]
        if not lines:
            raise DataError(
                f"'{run}' recorded no gradient norms while shrinking.",
                hint="Train with --set training.record_gradients_every=10",
            )
        start = lines[0]["first_gradient_norm"]
        curves.append(
            Curve(
                run=run,
                x=tuple(line["step"] - lines[0]["step"] for line in lines),
                y=tuple(line["gradient_norm"] / start for line in lines),
            )
        )
    return curves


def _metrics(run: str) -> list[dict[str, Any]]:
    path = Path(run) / METRICS_FILE
    if not path.is_file():
        raise CheckpointError(f"'{run}' is no training run: it has no {METRICS_FILE}.")
    return read_metrics(path)


def write_csv(path: Path, rows: Sequence[Any]) -> None:
    """Write dataclasses as CSV, a column a field; a curve as one row a point."""
    table: list[dict[str, Any]] = []
    for row in rows:
        if isinstance(row, Curve):
            table += [{"run": row.run, "x": x, "y": y} for x, y in zip(row.x, row.y, strict=True)]
        else:
            table.append(dataclasses.asdict(row))
    files.write_text(path, csv_table(list(table[0]), (row.values() for row in table)))


def draw_curves(path: Path, curves: Sequence[Curve], *, x_label: str, y_label: str) -> None:
    """Write curves as a PNG."""
    figure, (axes,) = new_figure()
    for curve in curves:
        axes.plot(curve.x, curve.y, marker="." if len(curve.x) < 100 else None, label=curve.run)
    finish_axes(axes, x_label, y_label)
    files.write_bytes(path, png(figure))


def draw_gradients(path: Path, layers: Sequence[LayerGradients]) -> None:
    """Write norms and cosines per layer as a PNG (Figure 3)."""
    figure, (norms, cosines) = new_figure(11, columns=2)
    numbers = range(1, len(layers) + 1)
    norms.semilogy(numbers, [layer.norm_full for layer in layers], label="full network")
    norms.semilogy(numbers, [layer.norm_shrinking for layer in layers], label="shrinking")
    # Dashed, since it may cover the full network's.
    norms.semilogy(numbers, [layer.norm_epsilon_shrinking for layer in layers], "C2--", label="ϵ-shrinking")
    cosines.plot(numbers, [layer.cosine_shrinking for layer in layers], "C1", label="shrinking")
    cosines.plot(numbers, [layer.cosine_epsilon_shrinking for layer in layers], "C2--", label="ϵ-shrinking")
    finish_axes(norms, "Layer", "Norm of the gradient")
    finish_axes(cosines, "Layer", "Cosine with the full network's gradient")
    files.write_bytes(path, png(figure))

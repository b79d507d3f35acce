"""The studies of `ofa-tk evaluate`: run one, print a table, write its files."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from ofa_tk import output
from ofa_toolkit.core import files


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What the user asked for."""

    supernets: tuple[str, ...]
    data: str | None
    out: Path
    force: bool
    num_buckets: int
    per_bucket: int
    latency_on: str | None
    tables: tuple[Path, ...]
    epsilon: float
    split: Literal["test", "validation", "train"]
    seed: int
    as_json: bool
    judge: dict[str, Any]

    def path(self, suffix: str) -> Path:
        """The study's file of that kind."""
        return self.out.with_name(self.out.name + suffix)

    def only_supernet(self) -> str:
        """The one supernet a study takes."""
        if len(self.supernets) != 1:
            raise click.UsageError("Name one run: --supernet DIR")
        return self.supernets[0]

    def images(self) -> str:
        """The images a study needs."""
        if self.data is None:
            raise click.UsageError("Name images: --data SOURCE")
        return self.data


def run_study(name: str, chosen: StudyOptions) -> None:
    """Run the study of that name."""
    if not chosen.supernets:
        raise click.UsageError(f"--{name} needs a run: --supernet DIR")
    studies: dict[str, Callable[[StudyOptions], None]] = {
        "pareto": _pareto,
        "init-study": _init_study,
        "gradients": _gradients,
        "curves": _accuracy_curves,
        "gradient-curves": _gradient_curves,
    }
    for suffix in (".json" if name == "pareto" else ".csv", ".png"):
        # Tables and pictures do not tell who made them.
        files.check_output(chosen.path(suffix), is_default=False, force=chosen.force)
    studies[name](chosen)


def _bar(stack: contextlib.ExitStack) -> Callable[[int, int], None]:
    """A progress bar that opens when its total is known."""
    shows: list[Callable[[int], None]] = []

    def on_step(done: int, total: int) -> None:
        if not shows:
            shows.append(stack.enter_context(output.progress_bar("Judging subnets", total)))
        shows[0](done)

    return on_step


def _pareto(chosen: StudyOptions) -> None:
    from ofa_toolkit.pipelines.evaluation import pareto
    from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator

    evaluators = [open_evaluator(name, chosen.images(), **chosen.judge) for name in chosen.supernets]
    space = evaluators[0].supernet.trained_space
    if chosen.latency_on is None:
        cost_of, axis = pareto.macs_cost(space), "MMACs"
    else:
        cost_of = pareto.latency_cost(chosen.latency_on, space, chosen.tables)
        axis = f"ms on {chosen.latency_on} (predicted)"
    with contextlib.ExitStack() as stack:
        result = pareto.study(
            evaluators,
            cost_of=cost_of,
            axis=axis,
            num_buckets=chosen.num_buckets,
            per_bucket=chosen.per_bucket,
            seed=chosen.seed,
            # The published points are MACs.
            show_published=chosen.images().startswith("imagenet:") and chosen.latency_on is None,
            on_step=_bar(stack),
        )
    document = dataclasses.asdict(result)
    files.write_json(chosen.path(".json"), document)
    pareto.draw(result, chosen.path(".png"))
    if chosen.as_json:
        output.print_json(document)
        return
    for curve in result.curves:
        columns = [
            output.Column(name=axis, is_number=True),
            output.Column(name="candidates", is_number=True),
            output.Column(name="validation top-1 %", is_number=True),
            output.Column(name="test top-1 %", is_number=True),
        ]
        rows = [
            (
                f"{point.cost:.2f}",
                point.num_candidates,
                f"{point.validation_top1_percent:.2f}",
                f"{point.test_top1_percent:.2f}",
            )
            for point in curve.points
        ]
        output.print_table(columns, rows, title=curve.supernet)
        output.print_fields({"mean Pareto accuracy %": f"{curve.mean_pareto_accuracy_percent:.2f}"})
    output.note(f"Wrote {chosen.path('.json')} and {chosen.path('.png')}")


def _init_study(chosen: StudyOptions) -> None:
    from ofa_toolkit.pipelines.training.studies import Curve, draw_curves, initialization_study

    with contextlib.ExitStack() as stack:
        points = initialization_study(
            chosen.only_supernet(),
            chosen.images(),
            split=chosen.split,
            on_step=_bar(stack),
            **chosen.judge,
        )
    curves = []
    for percent in sorted({point.trained_percent for point in points}):
        part = [point for point in points if point.trained_percent == percent]
        curves.append(
            Curve(
                run=f"{percent} % trained",
                x=tuple(point.mmacs for point in part),
                y=tuple(point.top1_percent for point in part),
            )
        )
    draw_curves(chosen.path(".png"), curves, x_label="MMACs", y_label=f"{chosen.split} top-1 (%)")
    _finish(chosen, points)


def _gradients(chosen: StudyOptions) -> None:
    from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
    from ofa_toolkit.pipelines.training.studies import draw_gradients, gradient_study

    evaluator = open_evaluator(chosen.only_supernet(), chosen.images(), **chosen.judge)
    layers = gradient_study(evaluator, epsilon=chosen.epsilon, seed=chosen.seed)
    draw_gradients(chosen.path(".png"), layers)
    _finish(chosen, layers)


def _accuracy_curves(chosen: StudyOptions) -> None:
    from ofa_toolkit.pipelines.training.studies import draw_curves, full_network_accuracy

    curves = full_network_accuracy(chosen.supernets)
    label = "Validation top-1 of the largest subnet (%)"
    draw_curves(chosen.path(".png"), curves, x_label="Epoch", y_label=label)
    _finish(chosen, curves)


def _gradient_curves(chosen: StudyOptions) -> None:
    from ofa_toolkit.pipelines.training.studies import draw_curves, gradient_norms

    curves = gradient_norms(chosen.supernets)
    label = "Norm of the gradient over the full network's at first"
    draw_curves(chosen.path(".png"), curves, x_label="Shrinking step", y_label=label)
    _finish(chosen, curves)


def _finish(chosen: StudyOptions, rows: Sequence[Any]) -> None:
    """Write the CSV; print it as a table or JSON."""
    from ofa_toolkit.pipelines.training.studies import write_csv

    path = chosen.path(".csv")
    write_csv(path, rows)
    if chosen.as_json:
        output.print_json([dataclasses.asdict(row) for row in rows])
        return
    header, *lines = csv.reader(path.read_text(encoding="utf-8").splitlines())
    output.print_table(header, lines)
    output.note(f"Wrote {path} and {chosen.path('.png')}")

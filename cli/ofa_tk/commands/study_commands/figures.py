"""Subcommands of `ofa-tk study` that draw the DϵpS paper's figures of training for one's own runs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import F, request_options
from ofa_toolkit.core.documents import read_text
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest


def _outputs(name: str) -> Callable[[F], F]:
    """Where a study is written, and how it is printed."""

    def decorate(function: F) -> F:
        stem = options.stem_option(name, "Write STEM.csv and STEM.png.")
        return stem(options.force_option(options.json_option(function)))

    return decorate


_run = click.option("--supernet", "run", required=True, metavar="DIR", help="The run folder.")
_runs = click.option(
    "--supernet", "runs", required=True, multiple=True, metavar="DIR", help="A run folder. Repeatable."
)


@click.command()
@_run
@request_options(EvaluationRequest)
@_outputs("init-study")
def initialization(run: str, request: EvaluationRequest, out: Path, force: bool, as_json: bool) -> None:
    """Measure small subnets cut from a run's snapshots, over the full network's training."""
    from ofa_toolkit.pipelines.training.studies import Curve, draw_curves, initialization_study

    table, picture = options.stem_files(out, ".csv", force=force)
    with TerminalReporter() as reporter:
        points = initialization_study(run, request, reporter=reporter)
    curves = []
    for percent in sorted({point.trained_percent for point in points}):
        part = [point for point in points if point.trained_percent == percent]
        x, y = zip(*((point.mmacs, point.top1_percent) for point in part), strict=True)
        curves.append(Curve(run=f"{percent} % trained", x=x, y=y))
    draw_curves(picture, curves, x_label="MMACs", y_label=f"{request.split} top-1 (%)")
    _finish(points, table, picture, as_json=as_json)


@click.command()
@_run
@request_options(EvaluationRequest, leave_out=("split",))
@click.option("--epsilon", type=click.FloatRange(min=0), default=1e-3, show_default=True, help="The ϵ.")
@options.seed_option
@options.offline_option
@_outputs("gradients")
def gradients(
    run: str,
    request: EvaluationRequest,
    epsilon: float,
    seed: int,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Compare full, shrinking and ϵ-shrinking gradients of each layer."""
    from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
    from ofa_toolkit.pipelines.training.studies import draw_gradients, gradient_study

    table, picture = options.stem_files(out, ".csv", force=force)
    layers = gradient_study(open_evaluator(run, request), epsilon=epsilon, seed=seed)
    draw_gradients(picture, layers)
    _finish(layers, table, picture, as_json=as_json)


@click.command()
@_runs
@_outputs("curves")
def curves(runs: tuple[str, ...], out: Path, force: bool, as_json: bool) -> None:
    """Draw the full network's accuracy over epochs, of several runs."""
    from ofa_toolkit.pipelines.training.studies import draw_curves, full_network_accuracy

    table, picture = options.stem_files(out, ".csv", force=force)
    found = full_network_accuracy(runs)
    draw_curves(picture, found, x_label="Epoch", y_label="Validation top-1 of the largest subnet (%)")
    _finish(found, table, picture, as_json=as_json)


@click.command("gradient-curves")
@_runs
@_outputs("gradient-curves")
def gradient_curves(runs: tuple[str, ...], out: Path, force: bool, as_json: bool) -> None:
    """Draw the gradient's norm over shrinking steps, of several runs."""
    from ofa_toolkit.pipelines.training.studies import draw_curves, gradient_norms

    table, picture = options.stem_files(out, ".csv", force=force)
    found = gradient_norms(runs)
    label = "Norm of the gradient over the full network's at first"
    draw_curves(picture, found, x_label="Shrinking step", y_label=label)
    _finish(found, table, picture, as_json=as_json)


def _finish(rows: Sequence[Any], table: Path, picture: Path, *, as_json: bool) -> None:
    """Write the CSV; print it as a table or JSON."""
    from ofa_toolkit.pipelines.training.studies import write_csv

    write_csv(table, rows)
    if as_json:
        output.print_json(rows)
        return
    header, *lines = csv.reader(read_text(table).splitlines())
    output.print_table(header, lines)
    output.note(f"Wrote {table} and {picture}")

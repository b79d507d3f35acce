"""`ofa-tk predictor`: build accuracy predictors, and show what one says about itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.launching import Launching, launching_options
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core.reporting import SILENT
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest

if TYPE_CHECKING:
    from ofa_toolkit.evaluation.predictor.card import PredictorError
    from ofa_toolkit.pipelines.evaluation.predictor import BuiltPredictor


@click.group()
def command() -> None:
    """Build and show accuracy predictors."""


@command.command()
@click.option("--supernet", required=True, metavar="NAME|DIR", help="A zoo name, run or supernet folder.")
@request_options(EvaluationRequest, leave_out=("split",))
@click.option(
    "--num-subnets",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Subnets to fit to; an eighth as many answers of searches are measured besides.",
)
@click.option(
    "--measurements",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where measured accuracies are kept and looked for. Default: `predictor` beside the predictor.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The predictor. Default: where `ofa-tk search` looks, in the supernet's or the user's folder.",
)
@launching_options("Processes that measure at the same time.", has_shards=True)
@options.offline_option
@options.force_option
@options.seed_option
@options.json_option
def build(
    *,
    request: EvaluationRequest,
    supernet: str,
    num_subnets: int,
    measurements: Path | None,
    out: Path | None,
    launching: Launching,
    force: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Measure subnets on held-out training images and fit a predictor to them.

    Then measure what searches by it choose, which it overrates, and take that into account.

    Killed and started again it goes on; with --jobs, and under torchrun, processes share the work.
    """
    from ofa_toolkit.core import files
    from ofa_toolkit.evaluation.predictor.file import holds_predictor
    from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
    from ofa_toolkit.pipelines.evaluation.predictor import build_predictor
    from ofa_toolkit.pipelines.search.suggestion import search_command
    from ofa_toolkit.training.distributed import join, leave
    from ofa_toolkit.zoo.supernet import load_supernet

    opened = load_supernet(supernet)
    place = out or opened.own_predictor_file
    files.check_output(place, is_default=out is None, force=force, is_ours=holds_predictor)
    measurements = measurements or opened.own_predictor_file.parent / "predictor"
    with TerminalReporter() as reporter:
        launching.launch_shards(measurements / "logs", reporter)
    process = join(request.device)
    try:
        evaluator = open_evaluator(opened, dataclasses.replace(request, device=str(process.device)))
        with TerminalReporter() as reporter:
            built = build_predictor(
                evaluator,
                num_subnets=num_subnets,
                folder=measurements,
                out=out,
                seed=seed,
                process=process,
                shard=launching.shard,
                reporter=reporter if process.is_main else SILENT,
            )
    finally:
        leave(process)
    if built is None:
        return
    if as_json:
        output.print_json(
            {
                "path": built.path,
                "card": built.predictor.card,
                "learning_curve": built.learning_curve,
                "noise_points": built.noise_points,
                "verdict": built.verdict,
            }
        )
    else:
        _print_built(built)
    output.next_step(search_command(supernet=evaluator.supernet))


def _print_built(built: BuiltPredictor) -> None:
    _print_errors(built.predictor.card.errors)
    output.line()
    output.print_table(
        output.numbers("fitted on", "MAE (points)", "Spearman"),
        [(p.num_subnets, f"{p.mae_points:.3f}", f"{p.spearman:.4f}") for p in built.learning_curve],
        title="Learning curve, on subnets not fitted",
    )
    output.note(built.verdict)
    output.note(f"Wrote {built.path}")


@command.command()
@click.argument("source", metavar="NAME|DIR|FILE")
@options.json_option
def show(source: str, as_json: bool) -> None:
    """Show what a predictor is for, how it came about and how wrong it is."""
    from ofa_toolkit.core import config
    from ofa_toolkit.zoo.supernet import load_accuracy_predictor

    card = load_accuracy_predictor(source).card
    if as_json:
        output.print_json(config.to_dict(card))
        return
    output.print_fields(
        {
            "supernet": card.supernet,
            "space": f"{card.space} ({card.space_identity})",
            "predicts": f"{card.unit}, {card.dataset}",
            "resolutions": ", ".join(str(r) for r in card.resolutions),
            "measured at": ", ".join(str(r) for r in card.measured_resolutions) or "none",
            "provenance": card.provenance,
            "measured subnets": card.num_subnets,
            "source": card.source,
            "method": card.method,
        }
    )
    if card.errors:
        output.line()
        _print_errors(card.errors)
    for caveat in card.caveats:
        output.note(f"Note: {caveat}")


def _print_errors(errors: Iterable[PredictorError]) -> None:
    numbers = output.numbers("subnets", "Spearman", "Kendall", "MAE (points)", "bias (points)")
    rows = [
        (
            error.split,
            error.num_subnets,
            f"{error.spearman:.4f}",
            f"{error.kendall:.4f}",
            f"{error.mae_points:.3f}",
            f"{error.bias_points:+.3f}",
        )
        for error in errors
    ]
    output.print_table(["held out", *numbers], rows, title="Errors on subnets not fitted")

"""`ofa-tk evaluate`: measure accuracy on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.per_class import check_files, report
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.evaluation.evaluate import Evaluation

MOVED: Mapping[str, tuple[str, ...]] = {
    "--pareto": ("pareto",),
    "--init-study": ("study", "initialization"),
    "--gradients": ("study", "gradients"),
    "--curves": ("study", "curves"),
    "--gradient-curves": ("study", "gradient-curves"),
}
"""Former flags of this command, and the commands that they became."""


class _WithMovedFlags(click.Command):
    """Answers a former spelling with today's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what is no former spelling."""
        for flag, words in MOVED.items():
            if flag in args:
                kept = _known_to(_command(words), [word for word in args if word != flag])
                today = command_line(*words, *kept)
                raise click.UsageError(f"{flag} is a command of its own now: {today}", ctx)
        return super().parse_args(ctx, args)


def _command(words: tuple[str, ...]) -> click.Command:
    from ofa_tk.commands import pareto, study

    return pareto.command if words == ("pareto",) else study.command.commands[words[-1]]


def _known_to(command: click.Command, words: Sequence[str]) -> list[str]:
    """The options among the words that a command has, with their values."""
    known = {name for parameter in command.params for name in parameter.opts}
    kept: list[str] = []
    is_kept = False
    for word in words:
        if word.startswith("-"):
            is_kept = word.partition("=")[0] in known
        if is_kept:
            kept.append(word)
    return kept


@click.command(cls=_WithMovedFlags)
@click.option("--supernet", required=True, metavar="NAME|DIR", help="A zoo name, run or supernet folder.")
@options.offline_option
@request_options(EvaluationRequest)
@click.option(
    "--subnet",
    "subnets",
    multiple=True,
    type=options.InputPath(),
    metavar="FILE",
    help="A subnet.json to measure. Repeatable. Default: largest, smallest and random ones.",
)
@click.option(
    "--random", "num_random", type=click.IntRange(min=0), default=3, show_default=True, help="Random subnets."
)
@options.resolution_option
@click.option(
    "--per-class",
    is_flag=True,
    help="Judge one subnet, the largest unless --subnet names it, class by class.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="STEM",
    help="With --per-class: write STEM.csv, STEM.png and STEM.html.  [default: per-class]",
)
@options.force_option
@options.seed_option
@options.json_option
def command(
    *,
    supernet: str,
    request: EvaluationRequest,
    subnets: tuple[Path, ...],
    num_random: int,
    resolution: int | None,
    per_class: bool,
    out: Path | None,
    force: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the accuracy of subnets, in evaluation mode with recalibrated batch norm.

    Example: ofa-tk evaluate --supernet runs/try --data fake
    """
    from ofa_toolkit.datasets.report import warnings
    from ofa_toolkit.pipelines.evaluation.evaluate import evaluate_subnets
    from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
    from ofa_toolkit.pipelines.search.suggestion import next_command

    if out is not None and not per_class:
        raise click.UsageError("--out is for --per-class.")
    if per_class and len(subnets) > 1:
        raise click.UsageError(f"--per-class judges one subnet; --subnet names {len(subnets)}.")
    outputs = check_files(out or Path("per-class"), force=force) if per_class else ()
    evaluator = open_evaluator(supernet, request)
    for text in warnings(evaluator.dataset, is_weighted=True):
        output.warn(text)
    if per_class:
        report(evaluator, next(iter(subnets), None), resolution, outputs, as_json=as_json)
        return
    with TerminalReporter() as reporter:
        evaluation = evaluate_subnets(
            evaluator,
            subnets=subnets,
            resolution=resolution,
            num_random=num_random,
            seed=seed,
            reporter=reporter,
        )
    if as_json:
        output.print_json(evaluation)
        return
    _print(evaluation, evaluator.dataset.num_classes)
    output.next_step(next_command(evaluator.supernet))


def _print(evaluation: Evaluation, num_classes: int) -> None:
    from ofa_toolkit.evaluation.sampling import accuracy_text

    first = evaluation.results[0].accuracy
    among = [] if first.top1_among_percent is None else [f"among {num_classes} classes"]
    numbers = ("resolution", "MMACs", "M params", f"{evaluation.split} top-1 %", *among, "loss", "images")
    rows = [
        (
            r.name,
            r.resolution,
            f"{r.macs / 1e6:.2f}",
            f"{r.params / 1e6:.3f}",
            accuracy_text(r.accuracy.top1_percent, r.accuracy.num_images),
            *(
                [accuracy_text(own, r.accuracy.num_images)]
                if (own := r.accuracy.top1_among_percent) is not None
                else []
            ),
            f"{r.accuracy.loss:.3f}",
            r.accuracy.num_images,
        )
        for r in evaluation.results
    ]
    output.print_table(["subnet", *output.numbers(*numbers)], rows)
    for note in evaluation.notes:
        output.note(note)
    used = first.num_recalibration_images
    recalibrated = f"recalibrated on {used} training images for each subnet"
    output.note(f"Batch norm {recalibrated if used else 'as stored'}.")

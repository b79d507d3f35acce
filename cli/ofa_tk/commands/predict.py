"""`ofa-tk predict`: classify pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.prediction.predict import Prediction


@click.command()
@click.argument("model")
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURES...")
@click.option("--top", type=click.IntRange(min=1), help="Classes a picture. Default: 3, or all of fewer.")
@click.option(
    "--subnet",
    type=options.InputPath(dir_okay=False),
    metavar="FILE",
    help="Of a supernet. Default: what a run was fine-tuned for, or else its largest.",
)
@click.option("--data", metavar="SOURCE", help="Training images for a subnet's batch-norm statistics.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Pictures at a time."
)
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write all as a table: picture, rank, class, probability, problem.",
)
@options.threads_option
@options.offline_option
@options.force_option
@options.json_option
def command(
    *,
    model: str,
    pictures: tuple[str, ...],
    top: int | None,
    subnet: Path | None,
    data: str | None,
    batch_size: int,
    table: Path | None,
    threads: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Classify PICTURES with MODEL, and tell the probabilities.

    MODEL is an ONNX file or a bundle that `ofa-tk export` wrote, a run, a supernet folder, or a zoo name.
    PICTURES are files, folders, and patterns such as 'photos/**/*.jpg'. Where one cannot be read, the others
    are classified, and the command exits 1.

    Example: ofa-tk predict runs/fruit photos/ripe
    """
    from ofa_toolkit.core import files
    from ofa_toolkit.core.errors import DataError
    from ofa_toolkit.datasets.folders import HIDDEN
    from ofa_toolkit.pipelines.prediction.classifier import open_classifier
    from ofa_toolkit.pipelines.prediction.pictures import find_pictures
    from ofa_toolkit.pipelines.prediction.predict import csv_text, predict

    if table is not None:
        files.check_output(table, is_default=False, force=force)
    paths, left_out = find_pictures(pictures)
    classifier = open_classifier(model, subnet=subnet, data=data, threads=_use_threads(threads))
    for file in left_out:
        if file.reason != HIDDEN:
            output.note(f"Not read: {file.path} ({file.reason})")
    with TerminalReporter() as reporter:
        found = predict(classifier, paths, top=top, batch_size=batch_size, reporter=reporter)
    if table is not None:
        files.write_text(table, csv_text(found))
    if as_json:
        output.print_json({"model": model, "pictures": found})
    else:
        _print(found)
    for note in classifier.notes:
        output.note(note)
    unread = [item for item in found if item.problem is not None]
    for item in unread:
        output.warn(f"'{item.picture}' cannot be read: {item.problem}.")
    if unread:
        raise DataError(f"{len(unread)} of {len(found)} pictures cannot be read; the others are told above.")


def _use_threads(threads: int | None) -> int:
    import os

    if threads is None:
        return len(os.sched_getaffinity(0))
    import torch

    torch.set_num_threads(threads)
    return threads


def _print(found: list[Prediction]) -> None:
    readable = [item for item in found if item.guesses]
    if not readable:
        return
    columns: list[output.Column | str] = ["picture"]
    for rank in range(1, len(readable[0].guesses) + 1):
        columns += ["class" if rank == 1 else f"{rank}.", *output.numbers("%")]
    rows = [
        [
            item.picture,
            *(cell for guess in item.guesses for cell in (guess.class_name, _percent(guess.probability))),
        ]
        for item in readable
    ]
    output.print_table(columns, rows)


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f}"

"""`ofa-tk evaluate --per-class`: one network class by class, as tables, CSV, PNG and HTML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ofa_tk import output
from ofa_toolkit.core import files
from ofa_toolkit.evaluation.sampling import percent_text

if TYPE_CHECKING:
    from ofa_toolkit.evaluation.confusion import ConfusionMatrix
    from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator
    from ofa_toolkit.pipelines.evaluation.per_class import PerClass

SUFFIXES = (".csv", ".png", ".html")
_MOST_COLUMNS = 12


def check_files(stem: Path, *, force: bool) -> tuple[Path, ...]:
    """The files of a stem, which may be written."""
    paths = tuple(stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    for path in paths:
        files.check_output(path, is_default=False, force=force)
    return paths


def report(
    evaluator: Evaluator,
    subnet: Path | None,
    resolution: int | None,
    paths: tuple[Path, ...],
    *,
    as_json: bool,
) -> None:
    """Judge the subnet, or the largest trained one, and write all of it."""
    from ofa_toolkit.pipelines.evaluation.per_class import draw_matrix, judge_classes, write_table
    from ofa_toolkit.pipelines.evaluation.per_class_page import write_page
    from ofa_toolkit.spaces.subnet_file import read_subnet

    supernet = evaluator.supernet
    if subnet is None:
        chosen, name = supernet.trained_space.largest(resolution), "the largest trained subnet"
    else:
        chosen, name = read_subnet(subnet, supernet.space, resolution=resolution).subnet, str(subnet)
    result = judge_classes(evaluator, chosen, name)
    table, picture, page = paths
    write_table(result, table)
    draw_matrix(result, picture)
    write_page(result, page, picture)
    if as_json:
        output.print_json(result.document())
    else:
        _print(result)
    output.note(f"Wrote {table}, {picture} and {page}")


def _print(result: PerClass) -> None:
    matrix = result.matrix
    output.print_table(
        ["class", *output.numbers("images", "recall %", "precision %")],
        [
            (each.name, each.num_images, *map(percent_text, (each.recall_percent, each.precision_percent)))
            for each in matrix.classes()
        ],
        title=f"{result.subnet}: {matrix.top1_percent:.2f} % of {matrix.counts.sum()} {result.split} images",
    )
    if len(matrix.class_names) <= _MOST_COLUMNS:
        _print_counts(matrix)
    pairs = matrix.most_confused(5)
    if pairs:
        output.print_table(
            ["class", "taken for", *output.numbers("images")],
            [(pair.class_name, pair.taken_for, pair.num_images) for pair in pairs],
            title="Most confused",
        )


def _print_counts(matrix: ConfusionMatrix) -> None:
    """The matrix itself; its columns are numbered where their names are too long for the terminal."""
    rows, columns = list(matrix.class_names), [f"-> {name}" for name in matrix.class_names]
    width = output.terminal_width()
    if width is not None and max(map(len, rows)) + sum(len(name) + 2 for name in columns) > width:
        rows = [f"{number} {name}" for number, name in enumerate(rows, 1)]
        columns = [str(number) for number in range(1, len(rows) + 1)]
    output.print_table(
        ["class", *output.numbers(*columns)],
        [[name, *counts] for name, counts in zip(rows, matrix.counts.tolist(), strict=True)],
        title="Taken for",
    )

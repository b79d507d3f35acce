"""`ofa-tk pareto`: the most accurate subnets over the range of cost, of several supernets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core import files
from ofa_toolkit.pipelines.evaluation.request import ParetoRequest


@click.command()
@request_options(ParetoRequest, leave_out=("split",))
@options.stem_option("pareto", "Write STEM.json and STEM.png.")
@options.offline_option
@options.force_option
@options.json_option
def command(request: ParetoRequest, out: Path, force: bool, as_json: bool) -> None:
    """Compare supernets by the most accurate subnet of each part of their range of cost.

    The best is chosen on held-out images and reported on test images.
    """
    from ofa_toolkit.evaluation.sampling import accuracy_text
    from ofa_toolkit.pipelines.evaluation import pareto

    table, picture = options.stem_files(out, ".json", force=force)
    with TerminalReporter() as reporter:
        result = pareto.study(request, reporter=reporter)
    document = dataclasses.asdict(result)
    files.write_json(table, document)
    pareto.draw(result, picture)
    if as_json:
        output.print_json(document)
        return
    for curve in result.curves:
        columns = output.numbers(result.axis, "candidates", "validation top-1 %", "test top-1 %")
        rows = [
            (
                f"{point.cost:.2f}",
                point.num_candidates,
                accuracy_text(point.validation_top1_percent, point.num_validation_images),
                accuracy_text(point.test_top1_percent, point.num_test_images),
            )
            for point in curve.points
        ]
        output.print_table(columns, rows, title=curve.supernet)
        output.print_fields({"mean Pareto accuracy %": f"{curve.mean_pareto_accuracy_percent:.2f}"})
    output.note(f"Wrote {table} and {picture}")

"""`ofa-tk quickstart`: search, export, check and time a bundled network on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_toolkit.core import quantities
from ofa_toolkit.core.command_line import command_line

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.quickstart import QuickstartReport


@click.command()
@click.option("--supernet", metavar="NAME|DIR", help="Another supernet than the bundled one.")
@options.offline_option
@options.out_option("quickstart", "The folder for tables, subnets and ONNX files.")
@options.force_option
@options.json_option
@click.pass_context
def command(ctx: click.Context, supernet: str | None, out: Path, force: bool, as_json: bool) -> None:
    """Try everything on this CPU in under a minute, without network, images or GPU.

    Times the parts of a small search space, finds the most accurate subnet for three latency budgets,
    exports each to ONNX, compares it with the network it was cut from, and times the file.
    """
    from ofa_toolkit.core.output_folder import check_output_folder
    from ofa_toolkit.pipelines.quickstart import BUNDLED, KIND, TABLES, quickstart

    is_default = options.is_default_out(ctx)
    check_output_folder(out, KIND, replace=is_default, force=force)
    with TerminalReporter() as reporter:
        report = quickstart(
            out,
            supernet=supernet or BUNDLED,
            replace=is_default,
            force=force,
            reporter=reporter,
        )
    if as_json:
        output.print_json(_document(report))
        return
    _print(report)
    chosen = report.rows[1]
    output.next_step(command_line("verify", chosen.onnx_file, "--tables", out / TABLES))


def _document(report: QuickstartReport) -> dict[str, object]:
    return {
        "supernet": report.supernet,
        "latency_table": report.table.table,
        "predictor_data": report.predictor_data,
        "table_error": report.table.accuracy,
        "rows": report.rows,
        "card": report.evaluated,
    }


def _print(report: QuickstartReport) -> None:
    numbers = ("at most", "top-1 predicted", "cost", "predicted", "measured", "off by", "parity")
    output.print_table(
        [*output.numbers(*numbers), "file"],
        [
            (
                f"{row.budget_ms:.3f} ms",
                f"{row.top1_percent:.1f} %",
                quantities.MACS.format(row.macs, digits=3),
                f"{row.predicted_ms:.3f} ms",
                f"{row.measured_ms:.3f} ms",
                f"{100 * (row.predicted_ms / row.measured_ms - 1):+.1f} %",
                f"{row.max_relative_error:.0e}",
                row.onnx_file,
            )
            for row in report.rows
        ],
    )
    error = report.table.accuracy
    output.note(f"top-1 predicted: by the accuracy predictor, fitted on {report.predictor_data}.")
    output.note(
        f"predicted: by the table measured a moment ago ({report.table.table}); on {error.num_networks} "
        f"subnets it had not seen it was off by {error.mape_percent:.1f} % on average."
    )
    output.note("measured: each ONNX file in ONNX Runtime, one thread, the quietest of many bursts.")
    output.note("parity: largest difference of an output from the network's, relative, on synthetic images.")
    for fact in report.evaluated:
        if fact.subnet in ("largest", "smallest"):
            output.note(
                f"card, {fact.subnet}, batch norm {fact.batchnorm}: {fact.top1_percent:.1f} % top-1 "
                f"({fact.origin}; {fact.source})."
            )

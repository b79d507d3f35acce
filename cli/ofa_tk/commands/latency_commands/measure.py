"""`ofa-tk latency measure`: a latency table of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.pipelines.latency.request import MeasureRequest

if TYPE_CHECKING:
    from ofa_toolkit.latency.measuring.measured_table import TableAccuracy
    from ofa_toolkit.pipelines.latency.measure import MeasureReport


@click.command("measure")
@request_options(MeasureRequest)
@options.json_option
def command(request: MeasureRequest, as_json: bool) -> None:
    """Time a search space on this machine and write a latency table.

    Every distinct block is timed on its own in interleaved bursts, then whole random subnets correct the
    sums, and other random subnets tell the error, which is written into the table. Stop it at any time:
    the same command goes on where it was.
    """
    from ofa_toolkit.latency.measuring.system import too_many_threads
    from ofa_toolkit.pipelines.latency.measure import measure_latency

    threads = request.options.num_threads
    if request.options.processor == "cpu" and (sentence := too_many_threads(threads)):
        output.warn(sentence)
    with TerminalReporter() as reporter:
        report = measure_latency(request, reporter)
    if as_json:
        output.print_json(report)
        return
    _print(report)
    where = () if request.folder is None else ("--tables", request.folder)
    output.next_step(command_line("latency", "show", request.device, *where))


def _print(report: MeasureReport) -> None:
    def line(accuracy: TableAccuracy) -> str:
        rank = "" if accuracy.spearman is None else f", Spearman {accuracy.spearman:.4f}"
        return (
            f"{accuracy.mape_percent:.2f} % mean absolute error{rank}, {accuracy.num_networks} unseen subnets"
        )

    output.print_fields(
        {
            "table": report.table,
            "folder": report.path,
            "units": f"{report.num_units} timed, typical spread {report.spread_percent:.1f} %",
            "error": line(report.accuracy),
            "plain sums": line(report.uncorrected),
            "provenance": "measured",
        }
    )
    for caveat in report.caveats:
        output.warn(caveat)

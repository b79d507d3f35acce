"""`ofa-tk latency import`: measurements from elsewhere become a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.request_options import request_options
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.pipelines.latency.request import ImportRequest

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.latency.importing import ImportReport


@click.command("import")
@request_options(ImportRequest)
@options.json_option
def command(request: ImportRequest, as_json: bool) -> None:
    """Turn measurements into a latency table.

    Read are results of a kit (any prefix of them), tables of the once-for-all repositories, JSON of
    `trtexec --exportTimes` and `--exportProfile`, its printed log, and CSV. Whole networks calibrate the
    shipped devices to yours; blocks are composed. What `ofa-tk latency audit` finds fault with is refused.
    """
    from ofa_toolkit.pipelines.latency.importing import import_latency

    report = import_latency(request)
    if as_json:
        output.print_json(report)
        return
    print_report(report)
    where = () if request.folder is None else ("--tables", request.folder)
    output.next_step(command_line("latency", "show", report.table.partition(":")[0], *where))


def print_report(report: ImportReport) -> None:
    """Print what became of measurements."""
    error = "unknown"
    if report.mape_percent is not None:
        error = f"{report.mape_percent:.2f} % mean absolute error on {report.num_checked} networks left out"
    output.print_fields(
        {
            "table": report.table,
            "folder": report.path,
            "read": report.read,
            "provenance": report.provenance,
            "error": error,
        }
    )
    for caveat in report.caveats:
        output.warn(caveat)

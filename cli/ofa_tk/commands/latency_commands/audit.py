"""`ofa-tk latency audit`: can a table be true?"""

from __future__ import annotations

import click

from ofa_tk import options, output
from ofa_tk.request_options import request_options
from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.pipelines.latency.request import AuditRequest

_ROWS_SHOWN = 10


@click.command("audit")
@request_options(AuditRequest)
@click.option("--all-rows", is_flag=True, help="Name every row of a finding, not only the first ones.")
@options.json_option
def command(request: AuditRequest, all_rows: bool, as_json: bool) -> None:
    """Look for mistakes in a latency table or in raw measurements.

    PATH is a device folder, a folder of devices, a table file, or a file of measurements (block tables,
    CSV, results of a kit). Found are rows copied from another device, kernel sizes without effect or with
    too much, mixed-up units, negative and non-monotone times, too few repeats, and throughput beyond the
    chip's peak. Exits 1 when something is found.
    """
    from ofa_toolkit.pipelines.latency.audit import audit_latency

    report = audit_latency(**vars(request))
    if as_json:
        output.print_json({"is_clean": report.is_clean, **vars(report)})
    else:
        for finding in report.findings:
            output.line(f"{finding.table}: {finding.check}: {finding.message}")
            shown = finding.rows if all_rows else finding.rows[:_ROWS_SHOWN]
            for row in shown:
                output.line(f"    {row}")
            if len(shown) < len(finding.rows):
                output.line(f"    ... and {len(finding.rows) - len(shown)} more (--all-rows)")
        if report.is_clean:
            output.line(
                f"{counted(report.num_rows, 'row')} of {counted(len(report.tables), 'table')}: nothing found."
            )
    if report.findings:
        raise LatencyTableError(
            f"'{request.path}' fails the audit: {counted(len(report.findings), 'finding')}.",
            hint="Measure the rows again, or leave the table alone.",
        )

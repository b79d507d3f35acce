"""`ofa-tk latency audit`: can a table be true?"""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_toolkit.core.errors import LatencyTableError

_ROWS_SHOWN = 10


@click.command("audit")
@click.argument("path", type=options.InputPath())
@options.space_option("Search space of the subnets in a CSV.")
@click.option("--device", metavar="NAME", help="Hold a raw file against this device's data sheet.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Images behind each time of a raw file that does not say.",
)
@click.option(
    "--against",
    multiple=True,
    type=options.InputPath(),
    metavar="PATH",
    help="Look for copies in this file or folder too. Repeatable.",
)
@click.option("--all-rows", is_flag=True, help="Name every row of a finding, not only the first ones.")
@options.tables_option
@options.json_option
def command(
    path: Path,
    space: str | None,
    device: str | None,
    batch_size: int,
    against: tuple[Path, ...],
    all_rows: bool,
    tables: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Look for mistakes in a latency table or in raw measurements.

    PATH is a device folder, a folder of devices, a table file, or a file of measurements (block tables,
    CSV, results of a kit). Found are rows copied from another device, kernel sizes without effect or with
    too much, mixed-up units, negative and non-monotone times, too few repeats, and throughput beyond the
    chip's peak. Exits 1 when something is found.
    """
    from ofa_toolkit.pipelines.latency.audit import audit_latency

    report = audit_latency(
        path, space=space, device=device, batch_size=batch_size, against=against, tables=tables
    )
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
            output.line(f"{report.num_rows} rows of {len(report.tables)} tables: nothing found.")
    if not report.is_clean:
        raise LatencyTableError(
            f"'{path}' fails the audit: {len(report.findings)} finding{'s' * (len(report.findings) > 1)}.",
            hint="Measure the rows again, or leave the table alone.",
        )

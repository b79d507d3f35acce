"""`ofa-tk latency import`: measurements from elsewhere become a table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_toolkit.core.command_line import command_line

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.latency.importing import ImportReport


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=options.InputPath(), metavar="PATH...")
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    help="kit, ofa-yaml, trtexec-times, trtexec-profile, trtexec-log, csv.",
)
@click.option("--device", metavar="NAME", help="Name to file the table under.  [default: the kit's target]")
@options.space_option("Search space, where the file does not say.")
@click.option(
    "--classes", type=click.IntRange(min=1), help="Outputs of the classifier.  [default: the space's]"
)
@click.option(
    "--subnet",
    "subnets",
    multiple=True,
    type=options.InputPath(dir_okay=False),
    metavar="FILE",
    help="Subnet that a file of trtexec belongs to; once for each file.",
)
@click.option("--runtime", metavar="NAME", help="What executed the networks, where the file does not say.")
@click.option("--runtime-version", metavar="TEXT", help="Its version.")
@click.option("--precision", type=click.Choice(["fp32", "tf32", "fp16", "bf16", "int8"]), help="Arithmetic.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per run.")
@click.option("--clocks", metavar="TEXT", help="Power mode and clocks.")
@click.option("--source", metavar="TEXT", default="own measurements", show_default=True, help="Who measured.")
@click.option(
    "--licence", metavar="TEXT", default="own measurements", show_default=True, help="Licence of the source."
)
@click.option(
    "--tables",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of devices to write to.  [default: your own]",
)
@click.option(
    "--accept-findings",
    is_flag=True,
    help="Import what `latency audit` refuses; the table says what it found.",
)
@options.force_option
@options.json_option
def command(
    paths: tuple[Path, ...],
    format_name: str | None,
    device: str | None,
    space: str | None,
    classes: int | None,
    subnets: tuple[Path, ...],
    runtime: str | None,
    runtime_version: str | None,
    precision: str | None,
    batch_size: int | None,
    clocks: str | None,
    source: str,
    licence: str,
    tables: Path | None,
    accept_findings: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Turn measurements into a latency table.

    Read are results of a kit (any prefix of them), tables of the once-for-all repositories, JSON of
    `trtexec --exportTimes` and `--exportProfile`, its printed log, and CSV. Whole networks calibrate the
    shipped devices to yours; blocks are composed. What `ofa-tk latency audit` finds fault with is refused.
    """
    from ofa_toolkit.latency.importing import Conditions
    from ofa_toolkit.pipelines.latency.importing import ImportRequest, import_latency

    request = ImportRequest(
        paths=paths,
        format_name=format_name,
        device=device,
        space=space,
        num_classes=classes,
        subnets=subnets,
        conditions=Conditions(
            runtime=runtime,
            runtime_version=runtime_version,
            precision=precision,
            batch_size=batch_size,
            clocks=clocks,
        ),
        source=source,
        licence=licence,
        folder=tables,
        force=force,
        accepts_findings=accept_findings,
    )
    report = import_latency(request)
    if as_json:
        output.print_json(dataclasses.asdict(report))
        return
    print_report(report)
    where = () if tables is None else ("--tables", tables)
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

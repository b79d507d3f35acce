"""`ofa-tk verify`: is an exported file what it says it is?"""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_toolkit.core.errors import VerificationError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--supernet", metavar="NAME|DIR", help="Where the supernet is, if not where the file says.")
@click.option("--data", metavar="SOURCE", help="Images, if not those the file names.")
@options.offline_option
@options.tables_option
@options.json_option
def command(
    file: Path, supernet: str | None, data: str | None, tables: tuple[Path, ...], as_json: bool
) -> None:
    """Derive everything an exported file says about itself again, and compare.

    Search space, target, graph, precision, counts, predicted latency, weights and outputs. What cannot be
    checked on this machine is listed with the reason. Exits 1 when a claim does not hold.
    """
    from ofa_toolkit.export.formats.folder import is_format_folder
    from ofa_toolkit.pipelines.export.verify import verify_export
    from ofa_toolkit.pipelines.export.verify_format import verify_format

    verify = verify_format if is_format_folder(file) else verify_export
    result = verify(file, supernet=supernet, data=data, tables=tables, reporter=TerminalReporter())
    if as_json:
        output.print_json(
            {
                "file": file,
                "is_ok": not result.failed,
                "checks": result.checks,
                "metadata": result.metadata.to_document(),
            }
        )
    else:
        output.print_table(
            ["claim", "status", "found"],
            [(check.claim, check.status, check.detail) for check in result.checks],
        )
    if result.failed:
        claims = ", ".join(check.claim for check in result.failed)
        raise VerificationError(f"'{file}' is not what it says: {claims}.")
    unchecked = [check.claim for check in result.checks if check.status == "not checked"]
    output.note(
        "Every claim holds." if not unchecked else f"Holds, as far as checked; not: {', '.join(unchecked)}."
    )

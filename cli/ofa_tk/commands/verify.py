"""`ofa-tk verify`: is an exported file what it says it is?"""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core.errors import VerificationError
from ofa_toolkit.pipelines.export.options import VerifyRequest


@click.command()
@request_options(VerifyRequest)
@options.offline_option
@options.json_option
def command(request: VerifyRequest, as_json: bool) -> None:
    """Derive everything an exported file says about itself again, and compare.

    Search space, target, graph, precision, counts, predicted latency, weights and outputs. What cannot be
    checked on this machine is listed with the reason. Exits 1 when a claim does not hold.
    """
    from ofa_toolkit.export.formats.folder import is_format_folder
    from ofa_toolkit.pipelines.export.verify import verify_export
    from ofa_toolkit.pipelines.export.verify_format import verify_format

    file = Path(request.file)
    verify = verify_format if is_format_folder(file) else verify_export
    result = verify(**vars(request) | {"reporter": TerminalReporter()})
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

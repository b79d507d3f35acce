"""`ofa-tk zoo verify`: files and figures against the card."""

from __future__ import annotations

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_toolkit.core.errors import VerificationError


@click.command("verify")
@click.argument("name")
@click.option("--data", metavar="SOURCE", help="Also measure every figure of the card on these images.")
@options.offline_option
@options.json_option
def command(name: str, data: str | None, as_json: bool) -> None:
    """Check the files of an entry (a name or a folder) against its card; exit 1 when one differs."""
    from ofa_toolkit.pipelines.zoo import listing as zoo
    from ofa_toolkit.pipelines.zoo.verify import verify_entry
    from ofa_toolkit.zoo.entries import ZooEntry

    found = zoo.find(name)
    if not isinstance(found, ZooEntry):
        raise click.UsageError(f"'{name}' is a published subnet; only supernets have files to check.")
    findings = verify_entry(found, data=data, reporter=TerminalReporter())
    wrong = [finding for finding in findings if not finding.is_right]
    if as_json:
        output.print_json({"is_right": not wrong, "findings": findings})
    else:
        rows = [(f.subject, "right" if f.is_right else "wrong", f.detail) for f in findings]
        output.print_table(["subject", "is", "detail"], rows)
    if wrong:
        raise VerificationError(
            f"'{name}' is not what its card says: {wrong[0].subject}: {wrong[0].detail}.",
            hint="Download it again, or tell its maker.",
        )

"""`ofa-tk doctor`: is everything that is needed here, and what else is?"""

from __future__ import annotations

import click

from ofa_tk import options, output
from ofa_toolkit.core.errors import OfaToolkitError


@click.command()
@options.json_option
def command(as_json: bool) -> None:
    """Check versions, devices, back ends and folders.

    Exits 1 when something required is broken, and names the fix. Optional parts may be absent.
    """
    from ofa_toolkit.pipelines.doctor import diagnose

    checks = diagnose()
    broken = [check for check in checks if check.status == "broken"]
    if as_json:
        output.print_json({"is_ok": not broken, "checks": checks})
    else:
        output.print_table(
            ["group", "part", "status", "found"],
            [(check.group, check.name, check.status, check.detail) for check in checks],
        )
        for check in checks:
            if check.fix and check.status == "absent":
                output.note(f"{check.name}: {check.fix}")
    if broken:
        names = ", ".join(check.name for check in broken)
        raise OfaToolkitError(f"Required and broken: {names}.", hint="; ".join(check.fix for check in broken))

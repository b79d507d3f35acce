"""`ofa-tk latency`: how long networks take on devices."""

from __future__ import annotations

import click

from ofa_tk.commands.latency_commands import (
    audit,
    calibrate,
    devices,
    importing,
    kit,
    listing,
    measure,
    predict,
    show,
)


@click.group()
def command() -> None:
    """Latency tables: list, show, predict, measure, calibrate, audit, devices."""


for _subcommand in (
    listing.command,
    show.command,
    predict.command,
    measure.command,
    kit.command,
    importing.command,
    calibrate.command,
    devices.command,
    audit.command,
):
    command.add_command(_subcommand)

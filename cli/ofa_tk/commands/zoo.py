"""`ofa-tk zoo`: pretrained supernets and published subnets."""

from __future__ import annotations

import click

from ofa_tk.commands.zoo_commands import download, importing, listing, package, push, show, verify


@click.group()
def command() -> None:
    """Pretrained supernets: list, show, download, check, import, package, upload."""


for _subcommand in (
    listing.command,
    show.command,
    download.command,
    verify.command,
    importing.command,
    package.command,
    push.command,
):
    command.add_command(_subcommand)

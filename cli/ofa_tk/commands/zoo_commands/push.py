"""`ofa-tk zoo push`: upload an entry."""

from __future__ import annotations

import click

from ofa_tk import options, output
from ofa_toolkit.core.command_line import command_line


@click.command("push")
@click.argument("source", metavar="NAME|DIR")
@click.argument("target", metavar="hf-hub:USER/REPO")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--message", metavar="TEXT", help="Commit message.")
@options.json_option
def command(source: str, target: str, private: bool, message: str | None, as_json: bool) -> None:
    """Upload an entry with its files to the Hugging Face Hub, after checking it."""
    from ofa_toolkit.pipelines.zoo import listing as zoo
    from ofa_toolkit.zoo.entries import ZooEntry
    from ofa_toolkit.zoo.hub import push_to_hub

    found = zoo.find(source)
    if not isinstance(found, ZooEntry):
        raise click.UsageError(f"'{source}' is a published subnet; only supernets can be uploaded.")
    address = push_to_hub(found.folder, target, private=private, message=message)
    if as_json:
        output.print_json({"commit": address})
    else:
        output.line(address)
    output.next_step(command_line("zoo", "download", target))

"""`ofa-tk zoo download`: fetch a supernet and check it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output

if TYPE_CHECKING:
    from ofa_toolkit.zoo.store import Store


@click.command("download")
@click.argument("name")
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="PLACE", help="Look here first: file, folder, address."
)
@click.option("--offline", is_flag=True, help="Use the cache and local mirrors only.")
@click.option("--accept-unknown", is_flag=True, help="Take a file whose identity nobody published.")
@options.json_option
def command(name: str, mirrors: tuple[str, ...], offline: bool, accept_unknown: bool, as_json: bool) -> None:
    """Fetch a supernet by its zoo name or hf-hub:USER/REPO[@REVISION], check it, and make it ready."""
    from ofa_toolkit.pipelines.search.suggestion import search_command
    from ofa_toolkit.zoo.resolving import download_supernet

    with _store(name, mirrors, offline=offline, accept_unknown=accept_unknown) as store:
        folder = download_supernet(name, store=store)
    if as_json:
        output.print_json({"name": name, "folder": str(folder)})
    else:
        output.line(folder)
    output.next_step(search_command(supernet=name))


@contextlib.contextmanager
def _store(name: str, mirrors: tuple[str, ...], *, offline: bool, accept_unknown: bool) -> Iterator[Store]:
    from ofa_tk.download_progress import download_progress
    from ofa_toolkit.zoo.sources import user_mirrors
    from ofa_toolkit.zoo.store import Store

    with download_progress(name) as progress:
        yield Store(
            offline=offline,
            mirrors=(*mirrors, *user_mirrors()),
            accept_unknown=accept_unknown,
            progress=progress,
            notify=output.note,
        )

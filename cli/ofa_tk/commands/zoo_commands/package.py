"""`ofa-tk zoo package`: from a run to an entry."""

from __future__ import annotations

import dataclasses

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.pipelines.zoo.request import PARTS, PackageRequest, Preparation


@click.command("package")
@request_options(PackageRequest)
@click.option(
    "--skip",
    type=click.Choice(["images", "predictor", "front"]),
    multiple=True,
    help="Do not make this part. Repeatable.",
)
@request_options(Preparation, as_name="preparation")
@options.threads_option
@options.json_option
def command(
    request: PackageRequest,
    preparation: Preparation,
    skip: tuple[str, ...],
    threads: int | None,
    as_json: bool,
) -> None:
    """Turn a run, supernet or entry folder into a zoo entry with float16 weights and a card.

    With --data also its batch-norm images, predictor and front are made, which takes one CPU core about half
    an hour for a supernet as small as the bundled ones; killed and started again it goes on.
    """
    import torch

    from ofa_toolkit.core import config
    from ofa_toolkit.pipelines.zoo.package import package_entry
    from ofa_toolkit.pipelines.zoo.prepare import prepare_entry

    if threads is not None:
        torch.set_num_threads(threads)
    if request.data is not None:
        parts = tuple(part for part in PARTS if part not in skip)
        preparation = dataclasses.replace(preparation, parts=parts)
        with TerminalReporter() as reporter:
            request = prepare_entry(request, preparation, reporter=reporter)
    card = package_entry(request, reporter=TerminalReporter())
    if as_json:
        output.print_json({"folder": str(request.folder), "card": config.to_dict(card)})
    else:
        output.line(request.folder)
    place = request.name if request.out is None else request.folder
    output.next_step(
        command_line("zoo", "verify", place, *(["--data", request.data] if request.data else []))
    )

"""`ofa-tk extract`: cut a subnet out as a plain torch network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from ofa_tk import options, output
from ofa_tk.request_options import request_options
from ofa_toolkit.core import quantities
from ofa_toolkit.pipelines.export.options import ExtractRequest


@click.command()
@options.subnet_option("What to cut out; `ofa-tk search` writes it.")
@options.supernet_option
@options.offline_option
@request_options(ExtractRequest)
@options.out_option("network", "The folder to write.")
@options.json_option
@click.pass_context
def command(
    ctx: click.Context,
    subnet: Path | None,
    supernet: str | None,
    request: ExtractRequest,
    out: Path,
    as_json: bool,
) -> None:
    """Cut a subnet out of its supernet as a plain network, checked against the supernet."""
    from ofa_toolkit.core.output_folder import check_output_folder
    from ofa_toolkit.pipelines.export.extract import KIND, extract_network

    request = dataclasses.replace(
        request, subnet=subnet, supernet=supernet, folder=out, replace=options.is_default_out(ctx)
    )
    check_output_folder(out, KIND, replace=request.replace, force=request.force)
    made = extract_network(**vars(request))
    for note in made.notes:
        output.warn(note)
    if request.keep_batchnorm:
        output.warn("Batch-norm statistics are the supernet's; they fit none of its subnets well.")
    if as_json:
        output.print_json(
            {
                "folder": made.folder,
                "files": made.files,
                "resolution": made.subnet.resolution,
                "macs": made.macs,
                "params": made.params,
                "batchnorm": made.batchnorm,
                "largest_difference": made.largest_difference,
            }
        )
        return
    output.print_fields(
        {
            "network": f"{made.folder} ({', '.join(made.files)})",
            "resolution": f"{made.subnet.resolution} px",
            "cost": f"{quantities.MACS.format(made.macs, digits=4)}, {quantities.PARAMS.format(made.params)}",
            "batch norm": f"{made.batchnorm.kind}, {made.batchnorm.num_images} images",
            "parity": f"logits within {made.largest_difference:.1e} of the supernet's, synthetic images",
        }
    )
    if request.layout == "torch":
        output.next_step(f"torch.export.load('{made.folder / 'network.pt2'}').module()")

"""`ofa-tk extract`: cut a subnet out as a plain torch network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import click

from ofa_tk import options, output
from ofa_toolkit.core import quantities


@click.command()
@options.subnet_option("What to cut out; `ofa-tk search` writes it.")
@options.weights_options
@options.offline_option
@options.resolution_option
@click.option(
    "--data",
    metavar="SOURCE",
    help="Images for batch-norm statistics, such as imagefolder:DIR. Default: those the supernet carries.",
)
@click.option(
    "--layout",
    type=click.Choice(["torch", "official"]),
    default="torch",
    show_default=True,
    help="torch: a program and weights; official: net.config and init of the once-for-all repositories.",
)
@click.option(
    "--features", is_flag=True, help="Leave the classifier out: maps at strides 8, 16, 32, for detection."
)
@options.out_option("network", "The folder to write.")
@options.force_option
@options.json_option
@click.pass_context
def command(
    ctx: click.Context,
    subnet: Path | None,
    supernet: str | None,
    resolution: int | None,
    data: str | None,
    keep_batchnorm: bool,
    layout: Literal["torch", "official"],
    features: bool,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Cut a subnet out of its supernet as a plain network, checked against the supernet."""
    from ofa_toolkit.core.output_folder import check_output_folder
    from ofa_toolkit.pipelines.export.extract import KIND, extract_network

    is_default = options.is_default_out(ctx)
    check_output_folder(out, KIND, replace=is_default, force=force)
    made = extract_network(
        subnet,
        out,
        supernet=supernet,
        data=data,
        keep_batchnorm=keep_batchnorm,
        resolution=resolution,
        layout=layout,
        features=features,
        replace=is_default,
        force=force,
    )
    for note in made.notes:
        output.warn(note)
    if keep_batchnorm:
        output.warn("Batch-norm statistics are the supernet's; they fit none of its subnets well.")
    if as_json:
        output.print_json(
            {
                "folder": str(made.folder),
                "files": made.files,
                "resolution": made.subnet.resolution,
                "macs": made.macs,
                "params": made.params,
                "batchnorm": dataclasses.asdict(made.batchnorm),
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
    if layout == "torch":
        output.next_step(f"torch.export.load('{made.folder / 'network.pt2'}').module()")

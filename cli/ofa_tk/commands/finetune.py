"""`ofa-tk finetune`: adapt one subnet to a user's images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.commands.train import print_costs
from ofa_tk.training_progress import TrainingProgress

if TYPE_CHECKING:
    from ofa_toolkit.training.run_folder import Resume


@click.command()
@options.subnet_option("The subnet; `ofa-tk search` writes it.")
@click.option("--supernet", metavar="NAME|DIR", help="Its weights. Default: those the file names.")
@click.option("--data", required=True, metavar="SOURCE", help="Images, such as imagefolder:DIR.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The run folder.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=30, show_default=True, help="Passes over the images."
)
@options.offline_option
@options.resume_option
@options.processor_options
@options.seed_option
@options.set_option
@options.json_option
def command(
    subnet: Path | None,
    supernet: str | None,
    data: str,
    out: Path,
    epochs: int,
    resume: Resume,
    device: str | None,
    threads: int | None,
    seed: int,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train one subnet on your images, from a supernet's weights. Your classes get their own classifier."""
    from ofa_toolkit.evaluation.sampling import accuracy_text
    from ofa_toolkit.pipelines.export.searched_target import export_file_command
    from ofa_toolkit.pipelines.training.finetune import finetune, finetune_config
    from ofa_toolkit.training.distributed import is_main_process

    config = finetune_config(subnet, data, supernet=supernet, epochs=epochs, seed=seed, overrides=overrides)
    with TrainingProgress() as progress:
        result, path = finetune(config, out, resume=resume, device=device, threads=threads, reporter=progress)
    if not is_main_process():
        return
    if as_json:
        output.print_json({**dataclasses.asdict(result), "subnet": path})
    else:
        top1 = accuracy_text(result.accuracies["subnet"], result.num_validation_images)
        output.print_fields({"validation top-1 %": top1, "subnet": path})
        print_costs([result.total_cost])
    output.next_step(export_file_command(path, "--data", data))

"""`ofa-tk zoo package`: from a run to an entry."""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_toolkit.core.command_line import command_line


@click.command("package")
@click.argument("source", metavar="RUN", type=options.InputPath(file_okay=False))
@click.option("--name", required=True, help="Name of the entry.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Its folder. Default: the user's zoo."
)
@click.option(
    "--data",
    metavar="SOURCE",
    help="Images it was trained on: make batch-norm images, predictor and front, measure the card's figures.",
)
@click.option(
    "--skip",
    type=click.Choice(["images", "predictor", "front"]),
    multiple=True,
    help="Do not make this part. Repeatable.",
)
@click.option(
    "--num-subnets",
    type=click.IntRange(min=1),
    default=150,
    show_default=True,
    help="Subnets to measure for the predictor.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=2500,
    show_default=True,
    help="Held-out training images to measure each of them on.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keeps what a killed run has done. Default: `packaging` in RUN.",
)
@options.threads_option
@click.option(
    "--subnet",
    "subnets",
    multiple=True,
    type=options.InputPath(),
    metavar="FILE",
    help="Include this subnet and measure it. Repeatable.",
)
@click.option(
    "--front",
    type=options.InputPath(dir_okay=False),
    metavar="FILE",
    help="Include and measure subnets of this front instead; `ofa-tk search --pareto` writes one.",
)
@click.option(
    "--num-front",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="How many of them, spread evenly.",
)
@click.option("--predictor", type=options.InputPath(), metavar="FILE", help="Include it.")
@click.option(
    "--facts",
    type=options.InputPath(),
    metavar="FILE",
    help="Parts of a card a run cannot know: licence, terms, cost, limits (TOML).",
)
@click.option(
    "--seed-run",
    "seed_runs",
    multiple=True,
    type=options.InputPath(),
    metavar="RUN",
    help="A run of the same recipe with another seed, measured too. Repeatable.",
)
@options.seed_option
@options.force_option
@options.json_option
def command(
    source: Path,
    name: str,
    out: Path | None,
    data: str | None,
    skip: tuple[str, ...],
    num_subnets: int,
    images: int,
    work: Path | None,
    threads: int | None,
    subnets: tuple[Path, ...],
    front: Path | None,
    num_front: int,
    predictor: Path | None,
    facts: Path | None,
    seed_runs: tuple[Path, ...],
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Turn a run, supernet or entry folder into a zoo entry with float16 weights and a card.

    With --data also its batch-norm images, predictor and front are made, which takes one CPU core about half
    an hour for a supernet as small as the bundled ones; killed and started again it goes on.
    """
    import torch

    from ofa_toolkit.core import config
    from ofa_toolkit.pipelines.zoo.package import PackageRequest, default_out, package_entry
    from ofa_toolkit.pipelines.zoo.prepare import PARTS, Preparation, prepare_entry

    if threads is not None:
        torch.set_num_threads(threads)
    folder = default_out(name) if out is None else out
    request = PackageRequest(
        source=source,
        name=name,
        out=folder,
        data=data,
        subnets=subnets,
        front=front,
        num_front=num_front,
        predictor=predictor,
        facts=facts,
        seed_runs=seed_runs,
        force=force,
    )
    if data is not None:
        preparation = Preparation(
            parts=tuple(part for part in PARTS if part not in skip),
            num_subnets=num_subnets,
            predictor_images=images,
            work=work,
            seed=seed,
        )
        request = prepare_entry(request, preparation, notify=output.note, progress_bar=output.progress_bar)
    card = package_entry(request, notify=output.note)
    if as_json:
        output.print_json({"folder": str(folder), "card": config.to_dict(card)})
    else:
        output.line(folder)
    place = name if out is None else folder
    output.next_step(command_line("zoo", "verify", place, *(["--data", data] if data else [])))

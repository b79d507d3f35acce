"""`ofa-tk train`: train a supernet by a recipe."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.training_progress import TrainingProgress, duration
from ofa_toolkit.core import quantities
from ofa_toolkit.core.command_line import command_line

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.training.run import TrainResult
    from ofa_toolkit.training.config import RunConfig
    from ofa_toolkit.training.cost import PhaseCost
    from ofa_toolkit.training.run_folder import Resume


@click.command()
@click.option("--recipe", metavar="NAME|FILE", help="A named recipe or a TOML file.")
@click.option("--data", metavar="SOURCE", help="Images, such as imagefolder:DIR, npz:FILE, cifar10:DIR.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="The run folder."
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Scale the whole run to this many epochs; with --resume, lengthen it.",
)
@click.option(
    "--init",
    metavar="SOURCE",
    help="Start from these weights: a zoo name, a run or supernet folder, torchvision:NAME, timm:NAME, or a "
    "state dictionary's file.",
)
@click.option(
    "--teacher",
    metavar="NAME|DIR",
    help="Learn from what this supernet's largest network predicts, in place of labels.",
)
@click.option(
    "--time",
    "seconds",
    type=options.Quantity(quantities.DURATION),
    metavar="TIME",
    help="Fit resolution, batch size and epochs to the images and to this time, such as 20min.",
)
@options.offline_option
@options.space_option("Train this space (all of it), not the recipe's; a supernet's folder gives its own.")
@options.resume_option
@click.option("--dry-run", is_flag=True, help="Check everything, time a few updates, predict the cost, stop.")
@click.option("--download", is_flag=True, help="Fetch the data set where torchvision can.")
@options.processor_options
@click.option("--seed", type=click.IntRange(min=0), help="Start of all random streams.")
@click.option(
    "--price-per-hour", type=click.FloatRange(min=0), help="Of one device, to print what the run costs."
)
@options.set_option
@options.json_option
def command(
    recipe: str | None,
    data: str | None,
    out: Path | None,
    epochs: int | None,
    init: str | None,
    teacher: str | None,
    seconds: float | None,
    space: str | None,
    resume: Resume,
    dry_run: bool,
    download: bool,
    device: str | None,
    threads: int | None,
    seed: int | None,
    price_per_hour: float | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train a supernet by DϵpS, OFA, BigNAS or CompOFA.

    Without options, lists the recipes. A run that was interrupted in any way goes on with
    `ofa-tk train --resume --out DIR`.

    Several processes: `torchrun --nproc-per-node 4 -m ofa_tk train ...`. `--resume auto` makes one line of
    starting and resuming, as restarted and requeued jobs need it.
    """
    if recipe is None and not resume:
        _list_recipes(as_json)
        return
    if out is None and not dry_run:
        raise click.UsageError("Name the run folder: --out runs/NAME")
    if teacher is not None:
        overrides = (*overrides, f"teacher={teacher}")
    if seconds is not None:
        if epochs is not None:
            raise click.UsageError("--epochs and --time both say how long to train; name one of them.")
        overrides = (*overrides, f"minutes={seconds / 60}")
    config = _config(recipe, data, out, epochs, init, space, seed, overrides, resume=resume)
    from ofa_toolkit.core.allocator import keep_freed_memory

    keep_freed_memory()
    if dry_run:
        _dry_run(config, device, threads, price_per_hour, download, as_json)
        return
    assert out is not None
    from ofa_toolkit.pipelines.training.run import train

    with TrainingProgress() as progress:
        result = train(
            config,
            out,
            resume=resume,
            device=device,
            threads=threads,
            download=download,
            price_per_hour=price_per_hour,
            reporter=progress,
        )
    _print_result(result, config, as_json)


def _list_recipes(as_json: bool) -> None:
    from ofa_toolkit.pipelines.training.recipes import list_recipes

    recipes = list_recipes()
    if as_json:
        output.print_json([{"name": r.name, "title": r.title} for r in recipes])
        return
    output.print_table(["recipe", "what"], [(r.name, r.title) for r in recipes])
    output.note("")
    output.note(
        "Training needs a recipe, images and a run folder. This line runs without any images of yours:"
    )
    output.next_step("ofa-tk train --recipe deps-compact-cifar10 --data fake --epochs 2 --out runs/try")


def _config(
    recipe: str | None,
    data: str | None,
    out: Path | None,
    epochs: int | None,
    init: str | None,
    space: str | None,
    seed: int | None,
    overrides: tuple[str, ...],
    *,
    resume: Resume,
) -> RunConfig:
    if resume and recipe is None:
        from ofa_toolkit.training import config as run_config
        from ofa_toolkit.training import run_folder

        if out is None:
            raise click.UsageError("Name the run to resume: --out DIR")
        if any(given is not None for given in (init, space, seed)):
            raise click.UsageError("--resume goes on with the run's own --init, --space and --seed.")
        run_folder.read_config(out)
        chosen = [*overrides]
        chosen += [f"data.source={data}"] if data else []
        chosen += [f"training.epochs={epochs}"] if epochs else []
        return run_config.load(out / run_folder.CONFIG_FILE, chosen)
    from ofa_toolkit.pipelines.training.recipes import load_recipe

    assert recipe is not None
    return load_recipe(
        recipe, overrides=overrides, source=data, epochs=epochs, seed=seed, init=init, space=space
    )


def _dry_run(
    config: RunConfig,
    device: str | None,
    threads: int | None,
    price_per_hour: float | None,
    download: bool,
    as_json: bool,
) -> None:
    from ofa_toolkit.pipelines.training.dry_run import dry_run

    if config.minutes is not None:
        config = _fitted(config, device, threads, download)
    prediction = dry_run(
        config, device=device, threads=threads, price_per_hour=price_per_hour, download=download
    )
    if as_json:
        output.print_json(prediction)
        return
    output.print_fields(
        {
            "recipe": config.recipe,
            "images": prediction.images,
            "updates": f"{prediction.steps_per_epoch} an epoch, {config.training.epochs} epochs",
            "timed": prediction.timed,
        }
    )
    print_costs([*prediction.costs, prediction.total_cost])
    output.note(
        f"Predicted time: {duration(prediction.total_cost.device_hours * 3600)}. Nothing was trained."
    )


def _fitted(config: RunConfig, device: str | None, threads: int | None, download: bool) -> RunConfig:
    """With the resolution, batch size and epochs that a run started now would take."""
    import torch

    from ofa_toolkit.pipelines.training.fitting import fit_to_time
    from ofa_toolkit.training.distributed import join, leave

    if threads is not None:
        torch.set_num_threads(threads)
    process = join(device)
    try:
        fitted = fit_to_time(config, process, download=download)
    finally:
        leave(process)
    output.note(fitted.told)
    return fitted.config


def print_costs(costs: list[PhaseCost]) -> None:
    """Print what each phase costs; in money where there is a price."""
    columns: list[output.Column | str] = [
        "phase",
        output.Column(name="updates", is_number=True),
        output.Column(name="s/update", is_number=True),
        output.Column(name="device-hours", is_number=True),
    ]
    if has_price := any(cost.money is not None for cost in costs):
        columns.append(output.Column(name="money", is_number=True))
    rows = [
        (
            cost.name,
            cost.steps,
            f"{cost.seconds_per_step:.3f}",
            f"{cost.device_hours:.3f}",
            *(["unknown" if cost.money is None else f"{cost.money:.2f}"] if has_price else []),
        )
        for cost in costs
    ]
    output.print_table(columns, rows)


def _print_result(result: TrainResult, config: RunConfig, as_json: bool) -> None:
    from ofa_toolkit.training.distributed import is_main_process

    if not is_main_process():
        return
    if as_json:
        output.print_json(dataclasses.asdict(result))
    else:
        from ofa_toolkit.evaluation.sampling import accuracy_text

        output.print_table(
            ["subnet", output.Column(name="validation top-1 %", is_number=True)],
            [
                (name, accuracy_text(top1, result.num_validation_images))
                for name, top1 in result.accuracies.items()
            ],
        )
        print_costs([*result.costs, result.total_cost])
        output.note(f"Supernet: {result.supernet}")
    output.next_step(command_line("evaluate", "--supernet", result.folder, "--data", config.data.source))

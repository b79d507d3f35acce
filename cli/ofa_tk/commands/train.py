"""`ofa-tk train`: train a supernet by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.quantities import counted, duration
from ofa_toolkit.pipelines.training.request import TrainRequest

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.training.run import TrainResult
    from ofa_toolkit.training.config import RunConfig
    from ofa_toolkit.training.cost import PhaseCost
    from ofa_toolkit.training.run_folder import Resume


@click.command()
@request_options(TrainRequest)
@options.offline_option
@options.resume_option
@click.option("--dry-run", is_flag=True, help="Check everything, time a few updates, predict the cost, stop.")
@options.json_option
def command(
    request: TrainRequest,
    resume: Resume,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a supernet by DϵpS, OFA, BigNAS or CompOFA.

    Without options, lists the recipes. A run that was interrupted in any way goes on with
    `ofa-tk train --resume --out DIR`.

    Several processes: `torchrun --nproc-per-node 4 -m ofa_tk train ...`. `--resume auto` makes one line of
    starting and resuming, as restarted and requeued jobs need it.
    """
    if request.recipe is None and not resume:
        _list_recipes(as_json)
        return
    out = None if request.out is None else Path(request.out)
    if out is None and not dry_run:
        raise click.UsageError("Name the run folder: --out runs/NAME")
    if request.time is not None and request.epochs is not None:
        raise click.UsageError("--epochs and --time both say how long to train; name one of them.")
    config = _config_of_run(request, out) if request.recipe is None else _recipe(request)
    from ofa_toolkit.core.allocator import keep_freed_memory

    keep_freed_memory()
    if dry_run:
        _dry_run(config, request, as_json)
        return
    assert out is not None
    from ofa_toolkit.pipelines.training.run import train

    with TerminalReporter() as reporter:
        result = train(
            config,
            out,
            resume=resume,
            device=request.device,
            threads=request.threads,
            download=request.download,
            price_per_hour=request.price_per_hour,
            reporter=reporter,
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


def _config_of_run(request: TrainRequest, folder: Path | None) -> RunConfig:
    """That of the run which is gone on with."""
    from ofa_toolkit.training import config as run_config
    from ofa_toolkit.training import run_folder

    if folder is None:
        raise click.UsageError("Name the run to resume: --out DIR")
    if any(given is not None for given in (request.init, request.space, request.seed)):
        raise click.UsageError("--resume goes on with the run's own --init, --space and --seed.")
    run_folder.read_config(folder)
    chosen = [*request.overrides]
    chosen += [f"data.source={request.data}"] if request.data else []
    chosen += [f"training.epochs={request.epochs}"] if request.epochs else []
    return run_config.load(folder / run_folder.CONFIG_FILE, chosen)


def _recipe(request: TrainRequest) -> RunConfig:
    from ofa_toolkit.pipelines.training.recipes import requested_recipe

    return requested_recipe(request)


def _dry_run(config: RunConfig, request: TrainRequest, as_json: bool) -> None:
    from ofa_toolkit.pipelines.training.dry_run import dry_run

    if config.minutes is not None:
        config = _fitted(config, request)
    prediction = dry_run(
        config,
        device=request.device,
        threads=request.threads,
        price_per_hour=request.price_per_hour,
        download=request.download,
    )
    if as_json:
        output.print_json(prediction)
        return
    output.print_fields(
        {
            "recipe": config.recipe,
            "images": prediction.images,
            "updates": f"{prediction.steps_per_epoch} an epoch, {counted(config.training.epochs, 'epoch')}",
            "timed": prediction.timed,
        }
    )
    print_costs([*prediction.costs, prediction.total_cost])
    output.note(
        f"Predicted time: {duration(prediction.total_cost.device_hours * 3600)}. Nothing was trained."
    )


def _fitted(config: RunConfig, request: TrainRequest) -> RunConfig:
    """With the resolution, batch size and epochs that a run started now would take."""
    import torch

    from ofa_toolkit.pipelines.training.fitting import fit_to_time
    from ofa_toolkit.training.distributed import join, leave

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    process = join(request.device)
    try:
        fitted = fit_to_time(config, process, download=request.download)
    finally:
        leave(process)
    output.note(fitted.told)
    return fitted.config


def print_costs(costs: list[PhaseCost]) -> None:
    """Print what each phase costs; in money where there is a price."""
    has_price = any(cost.money is not None for cost in costs)
    numbers = output.numbers("updates", "s/update", "device-hours", *(["money"] if has_price else []))
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
    output.print_table(["phase", *numbers], rows)


def _print_result(result: TrainResult, config: RunConfig, as_json: bool) -> None:
    if as_json:
        output.print_json(result)
    else:
        from ofa_toolkit.evaluation.sampling import accuracy_text

        output.print_table(
            ["subnet", *output.numbers("validation top-1 %")],
            [
                (name, accuracy_text(top1, result.num_validation_images))
                for name, top1 in result.accuracies.items()
            ],
        )
        print_costs([*result.costs, result.total_cost])
        output.note(f"Supernet: {result.supernet}")
    output.next_step(command_line("evaluate", "--supernet", result.folder, "--data", config.data.source))

"""`ofa-tk evaluate`: measure accuracy on images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import click

from ofa_tk import options, output


@click.command()
@click.option(
    "--supernet", "supernets", multiple=True, metavar="NAME|DIR", help="A zoo name, run or supernet folder."
)
@click.option("--data", metavar="SOURCE", help="Images, such as imagefolder:DIR, npz:FILE, cifar10:DIR.")
@click.option(
    "--subnet",
    "subnets",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A subnet.json to judge. Repeatable. Default: largest, smallest and random ones.",
)
@click.option(
    "--random", "num_random", type=click.IntRange(min=0), default=3, show_default=True, help="Random subnets."
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Which images.",
)
@click.option(
    "--images", type=click.IntRange(min=1), help="Judge on this many images, chosen by seed; all by default."
)
@options.judging_options
@options.processor_options
@click.option("--download", is_flag=True, help="Fetch the data set where torchvision can.")
@click.option(
    "--pareto",
    is_flag=True,
    help="The most accurate subnet in each part of the range of cost; several --supernet.",
)
@click.option(
    "--buckets", type=click.IntRange(min=1), default=6, show_default=True, help="Parts, for --pareto."
)
@click.option(
    "--per-bucket",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Subnets judged in each, for --pareto.",
)
@click.option("--latency-on", metavar="DEVICE", help="Cost is this device's predicted latency, for --pareto.")
@options.tables_option
@click.option(
    "--init-study",
    is_flag=True,
    help="Small subnets cut from a run's snapshots; the full network's training share.",
)
@click.option("--gradients", is_flag=True, help="Full, shrinking and ϵ-shrinking gradients per layer.")
@click.option(
    "--epsilon", type=click.FloatRange(min=0), default=1e-3, show_default=True, help="For --gradients."
)
@click.option("--curves", is_flag=True, help="The full network's accuracy over epochs, of several runs.")
@click.option(
    "--gradient-curves", is_flag=True, help="The gradient's norm over shrinking steps, of several runs."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="STEM",
    help="Write STEM.csv or STEM.json, and STEM.png, of a study. Default: the study's name.",
)
@click.option(
    "--validation-size",
    type=click.IntRange(min=1),
    help="Images held out of train. Default: as in its training.",
)
@click.option(
    "--test-size",
    type=click.IntRange(min=1),
    help="Images set aside for the test, of folders without a test set. Default: as in its training.",
)
@click.option("--num-workers", type=click.IntRange(min=0), default=0, help="Processes that load photos.")
@options.force_option
@options.seed_option
@options.json_option
def command(
    supernets: tuple[str, ...],
    data: str | None,
    subnets: tuple[Path, ...],
    num_random: int,
    split: Literal["test", "validation", "train"],
    images: int | None,
    recalibration_images: int,
    batch_size: int,
    device: str | None,
    threads: int | None,
    download: bool,
    pareto: bool,
    buckets: int,
    per_bucket: int,
    latency_on: str | None,
    tables: tuple[Path, ...],
    init_study: bool,
    gradients: bool,
    epsilon: float,
    curves: bool,
    gradient_curves: bool,
    out: Path | None,
    validation_size: int | None,
    test_size: int | None,
    num_workers: int,
    force: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the accuracy of subnets, in evaluation mode with recalibrated batch norm.

    The studies (--pareto, --init-study, --gradients, --curves, --gradient-curves) also write files.
    """
    chosen = [
        name
        for name, is_chosen in (
            ("pareto", pareto),
            ("init-study", init_study),
            ("gradients", gradients),
            ("curves", curves),
            ("gradient-curves", gradient_curves),
        )
        if is_chosen
    ]
    if len(chosen) > 1:
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]} are two studies: run one after the other.")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    if chosen:
        from ofa_tk.evaluation_studies import StudyOptions, run_study

        run_study(
            chosen[0],
            StudyOptions(
                supernets=supernets,
                data=data,
                out=out or Path(chosen[0]),
                force=force,
                num_buckets=buckets,
                per_bucket=per_bucket,
                latency_on=latency_on,
                tables=tables,
                epsilon=epsilon,
                split=split,
                seed=seed,
                as_json=as_json,
                judge={
                    "validation_size": validation_size,
                    "test_size": test_size,
                    "batch_size": batch_size,
                    "limit": images,
                    "recalibration_images": recalibration_images,
                    "device": device,
                    "download": download,
                    "num_workers": num_workers,
                },
            ),
        )
        return
    if len(supernets) != 1 or data is None:
        raise click.UsageError(
            "Name a supernet and images, for example: ofa-tk evaluate --supernet runs/try --data fake"
        )
    from ofa_toolkit.datasets.report import warnings
    from ofa_toolkit.evaluation.sampling import accuracy_text
    from ofa_toolkit.pipelines.evaluation.evaluate import evaluate
    from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
    from ofa_toolkit.pipelines.search.suggestion import next_command

    (supernet,) = supernets
    evaluator = open_evaluator(
        supernet,
        data,
        validation_size=validation_size,
        test_size=test_size,
        batch_size=batch_size,
        limit=images,
        recalibration_images=recalibration_images,
        device=device,
        download=download,
        num_workers=num_workers,
    )
    for text in warnings(evaluator.dataset, is_weighted=True):
        output.warn(text)
    total = len(subnets) or 2 + num_random
    with output.progress_bar("Judging subnets", total) as show:
        evaluation = evaluate(
            evaluator,
            split=split,
            subnets=subnets,
            num_random=num_random,
            seed=seed,
            on_step=lambda done, _: show(done),
        )
        show(total)
    if as_json:
        output.print_json(dataclasses.asdict(evaluation))
        return
    columns: list[output.Column | str] = [
        "subnet",
        output.Column(name="resolution", is_number=True),
        output.Column(name="MMACs", is_number=True),
        output.Column(name="M params", is_number=True),
        output.Column(name=f"{split} top-1 %", is_number=True),
        output.Column(name="loss", is_number=True),
        output.Column(name="images", is_number=True),
    ]
    rows = [
        (
            r.name,
            r.resolution,
            f"{r.macs / 1e6:.2f}",
            f"{r.params / 1e6:.3f}",
            accuracy_text(r.accuracy.top1_percent, r.accuracy.num_images),
            f"{r.accuracy.loss:.3f}",
            r.accuracy.num_images,
        )
        for r in evaluation.results
    ]
    output.print_table(columns, rows)
    used = evaluation.results[0].accuracy.num_recalibration_images
    output.note(f"Batch norm recalibrated on {used} training images for each subnet.")
    output.next_step(next_command(evaluator.supernet))

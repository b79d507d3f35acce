"""`ofa-tk benchmark`: how fast ONNX files run here."""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter


@click.command()
@click.argument("files", nargs=-1, required=True, type=options.InputPath())
@click.option(
    "--provider",
    "providers",
    multiple=True,
    type=click.Choice(["cpu", "cuda", "tensorrt"]),
    help="What runs them. Repeatable. Default: all that the installed ONNX Runtime has.",
)
@click.option(
    "--threads", multiple=True, type=click.IntRange(min=1), help="CPU threads. Repeatable. Default: 1."
)
@click.option(
    "--batch-size",
    "batch_sizes",
    multiple=True,
    type=click.IntRange(min=1),
    help="Of files that leave it open. Repeatable.",
)
@click.option(
    "--runs", type=click.IntRange(min=5), default=100, show_default=True, help="Timed runs of each."
)
@options.seed_option
@options.json_option
def command(
    files: tuple[Path, ...],
    providers: tuple[str, ...],
    threads: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    runs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Time ONNX files in ONNX Runtime and folders of other formats in their own runtimes, side by side.

    Any ONNX file with one image input can be compared; files take turns, and ratios are to the first.
    """
    from ofa_toolkit.pipelines.latency.benchmark import available_providers, benchmark

    result = benchmark(
        files,
        providers=providers or available_providers(),
        threads=threads or (1,),
        batch_sizes=batch_sizes,
        num_runs=runs,
        seed=seed,
        reporter=TerminalReporter(),
    )
    if as_json:
        output.print_json(result)
        return
    numbers = output.numbers("threads", "batch", "median ms", "p90 ms", "images/s", "ratio", "MB")
    output.print_table(
        ["file", "provider", *numbers],
        [
            (
                timing.file,
                timing.provider,
                timing.threads,
                timing.batch_size,
                f"{timing.median_ms:.3f}",
                f"{timing.p90_ms:.3f}",
                f"{timing.images_per_second:.1f}",
                f"{timing.ratio:.3f}",
                f"{timing.num_bytes / 1e6:.2f}",
            )
            for timing in result.timings
        ],
    )
    for warning in result.warnings:
        output.warn(warning)
    output.note(f"{result.processor}; onnxruntime {result.onnxruntime}; ratios are to the first file.")

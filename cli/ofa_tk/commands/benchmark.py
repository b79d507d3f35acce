"""`ofa-tk benchmark`: how fast ONNX files run here."""

from __future__ import annotations

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.pipelines.latency.request import BenchmarkRequest


@click.command()
@request_options(BenchmarkRequest)
@options.json_option
def command(request: BenchmarkRequest, as_json: bool) -> None:
    """Time ONNX files in ONNX Runtime and folders of other formats in their own runtimes, side by side.

    Any ONNX file with one image input can be compared; files take turns, and ratios are to the first.
    """
    from ofa_toolkit.pipelines.latency.benchmark import benchmark

    result = benchmark(request, TerminalReporter())
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

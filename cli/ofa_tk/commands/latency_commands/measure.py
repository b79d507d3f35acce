"""`ofa-tk latency measure`: a latency table of this machine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ofa_tk import options, output
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.quantities import LATENCY

if TYPE_CHECKING:
    from ofa_toolkit.latency.measuring.measured_table import Accuracy
    from ofa_toolkit.pipelines.latency.measure import MeasureReport


@click.command("measure")
@options.space_option("Search space to cover.", required=True)
@click.option(
    "--runtime", default="onnxruntime", show_default=True, metavar="NAME", help="What executes the networks."
)
@click.option(
    "--device", default="this-cpu", show_default=True, metavar="NAME", help="Name to file the table under."
)
@click.option(
    "--processor",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where networks run.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Images per run."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Arithmetic.",
)
@click.option(
    "--classes", type=click.IntRange(min=1), help="Outputs of the classifier.  [default: the space's]"
)
@click.option(
    "--resolutions", metavar="LIST", help="Input sizes to cover, as in 160,192,224.  [default: all]"
)
@click.option(
    "--fit-networks",
    type=click.IntRange(min=0),
    default=60,
    show_default=True,
    help="Whole subnets the correction is fitted on.",
)
@click.option(
    "--check-networks",
    type=click.IntRange(min=3),
    default=50,
    show_default=True,
    help="Other subnets that tell the error; 500 and more give --confidence bounds.",
)
@click.option(
    "--passes",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Times everything is gone through; more for busy machines.",
)
@click.option(
    "--tables",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of devices to write to.  [default: your own]",
)
@click.option("--restart", is_flag=True, help="Throw away what an interrupted run left.")
@options.seed_option
@options.json_option
def command(
    space: str,
    runtime: str,
    device: str,
    processor: Literal["cpu", "cuda"],
    threads: int,
    batch_size: int,
    precision: Literal["fp32", "fp16"],
    classes: int | None,
    resolutions: str | None,
    fit_networks: int,
    check_networks: int,
    passes: int,
    tables: Path | None,
    restart: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Time a search space on this machine and write a latency table.

    Every distinct block is timed on its own in interleaved bursts, then whole random subnets correct the
    sums, and other random subnets tell the error, which is written into the table. Stop it at any time:
    the same command goes on where it was.
    """
    from ofa_toolkit.latency.measuring.measure import Effort
    from ofa_toolkit.latency.measuring.system import too_many_threads
    from ofa_toolkit.latency.runtimes import RuntimeOptions
    from ofa_toolkit.pipelines.latency.measure import MeasureRequest, measure_latency

    request = MeasureRequest(
        space=space,
        device=device,
        runtime=runtime,
        options=RuntimeOptions(
            processor=processor, num_threads=threads, batch_size=batch_size, precision=precision
        ),
        num_classes=classes,
        resolutions=_resolutions(resolutions),
        num_fit=fit_networks,
        num_check=check_networks,
        effort=Effort(num_passes=passes),
        seed=seed,
        folder=tables,
        is_restart=restart,
    )
    if processor == "cpu" and (sentence := too_many_threads(threads)):
        output.warn(sentence)
    report = measure_latency(request, _progress())
    if as_json:
        output.print_json(dataclasses.asdict(report))
        return
    _print(report)
    where = () if tables is None else ("--tables", tables)
    output.next_step(command_line("latency", "show", device, *where))


def _resolutions(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is no list of sizes; write them like 160,192,224.", param_hint="--resolutions"
        ) from None


def _progress() -> Callable[[int, int], None]:
    """A line on stderr now and then, with the time that is left once it can be told."""
    start, first, shown = time.monotonic(), -1, -1

    def show(done: int, total: int) -> None:
        nonlocal first, shown
        if first < 0:
            first = done
            if done:
                output.note(f"{done} of {total} results are there from before.")
        step = 20 * done // max(total, 1)
        if step == shown or done == first:
            return
        shown = step
        seconds = (time.monotonic() - start) / (done - first) * (total - done)
        output.note(f"{done}/{total}, about {LATENCY.format(1e3 * seconds, digits=2)} left")

    return show


def _print(report: MeasureReport) -> None:
    def line(accuracy: Accuracy) -> str:
        rank = "" if accuracy.spearman is None else f", Spearman {accuracy.spearman:.4f}"
        return (
            f"{accuracy.mape_percent:.2f} % mean absolute error{rank}, {accuracy.num_networks} unseen subnets"
        )

    output.print_fields(
        {
            "table": report.table,
            "folder": report.path,
            "units": f"{report.num_units} timed, typical spread {report.spread_percent:.1f} %",
            "error": line(report.accuracy),
            "plain sums": line(report.uncorrected),
            "provenance": "measured",
        }
    )
    for caveat in report.caveats:
        output.warn(caveat)

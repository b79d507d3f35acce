"""`ofa-tk latency calibrate`: from ten measured networks to a table of your device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.request_options import request_options
from ofa_toolkit.core import files
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.quantities import LATENCY
from ofa_toolkit.pipelines.latency.request import CalibrationRequest

if TYPE_CHECKING:
    from ofa_toolkit.latency.table import LatencyTable
    from ofa_toolkit.pipelines.latency.tables import CalibratedDevice


@click.command("calibrate")
@request_options(CalibrationRequest)
@click.option(
    "--plan", type=click.IntRange(min=3), metavar="N", help="Write N networks to measure, and stop."
)
@click.option(
    "--samples", is_flag=True, help="Show the expected error for 5, 10, 20 and 50 networks, and stop."
)
@options.json_option
def command(
    request: CalibrationRequest,
    plan: int | None,
    samples: bool,
    as_json: bool,
) -> None:
    """Make a latency table of your device from about ten measured networks.

    First --plan writes a probes file. `latency kit build --probes` turns its networks into ONNX files with a
    program that times them; or time them yourself, fill in `latency_ms`, and give the file back. The table
    combines what is known of other devices with the batch size, weighed by your measurements.
    """
    from ofa_toolkit.latency.kit.probes_file import check_no_times, write_probes
    from ofa_toolkit.pipelines.latency.tables import calibrate_device, plan_probes, prior_tables

    if [plan is not None, samples, request.probes is not None].count(True) != 1:
        raise click.UsageError("Give a probes file, --plan N, or --samples.")
    if (plan is not None or samples) and request.space is None:
        raise click.UsageError("--plan and --samples need --space NAME.")
    space, batch_size = request.space or "", request.batch_size
    prior = prior_tables(request.like, batch_size=batch_size, exclude=request.exclude, tables=request.tables)
    if plan is not None:
        path = request.out or Path("probes.json")
        if not request.force:
            check_no_times(path)
        files.check_output(path, is_default=request.out is None, force=request.force)
        write_probes(path, plan_probes(space, plan, prior, request.seed))
        if as_json:
            output.print_json({"probes": path, "num_probes": plan})
        else:
            _say_how_to_go_on(path, plan, request)
    elif samples:
        _show_samples(space, prior, request.seed, as_json)
    elif request.device is None or request.runtime is None or request.precision is None:
        raise click.UsageError("A calibration needs --device NAME, --runtime NAME and --precision.")
    else:
        _report(calibrate_device(request, prior), request.out, as_json)


def _say_how_to_go_on(path: Path, count: int, request: CalibrationRequest) -> None:
    from ofa_toolkit.core.errors import OfaToolkitError
    from ofa_toolkit.export.target_devices import resolve_target
    from ofa_toolkit.latency.device_names import software_of

    device = request.device or "my-device"
    try:
        target = resolve_target(device, request.tables)
    except OfaToolkitError:  # nothing says what it runs
        target = resolve_target(software_of(device))
    is_gpu = target.generation.software.needs_gpu
    runtime, precision = ("tensorrt", "fp16") if is_gpu else ("onnxruntime", "fp32")
    batch = ("--batch-size", request.batch_size) if request.batch_size > 1 else ()
    conditions = ("--device", device, "--runtime", runtime, "--precision", precision, *batch)
    output.line(f"{count} networks to measure: {path}")
    output.note(f"Timed in another way: write `latency_ms` into {path}, then")
    output.note(f"  {command_line('latency', 'calibrate', path, *conditions)}")
    output.note("As ONNX files with a program that times them; its results go to `ofa-tk latency import`:")
    kit = ("--probes", path, "--target", target.name, *batch)
    output.next_step(command_line("latency", "kit", "build", *kit))


def _show_samples(space: str, prior: list[LatencyTable], seed: int, as_json: bool) -> None:
    from ofa_toolkit.pipelines.latency.tables import estimate_errors
    from ofa_toolkit.spaces.space_file import open_space

    errors = estimate_errors(open_space(space), prior, seed)
    if as_json:
        output.print_json({"is_simulated": True, "expected": errors})
        return
    output.print_table(
        output.numbers("networks", "expected error", "1 in 10 above"),
        [(e.num_probes, f"{e.mape_percent:.1f} %", f"{e.worst_mape_percent:.1f} %") for e in errors],
    )
    output.note("Simulated: each known device in turn plays the new one, learned from the others.")


def _report(done: CalibratedDevice, folder: Path | None, as_json: bool) -> None:
    from ofa_toolkit.pipelines.search.suggestion import search_command

    combination, table = done.calibration.predictor, done.table
    held_out = done.calibration.held_out_mape_percent
    if as_json:
        output.print_json(
            {
                "folder": done.folder,
                "table": table.name,
                "identity": table.identity,
                "provenance": table.provenance,
                "held_out_mape_percent": held_out,
                "fitted_mape_percent": done.calibration.fitted_mape_percent,
                "members": {member.table: member.weight for member in combination.members},
                "ms_per_million_macs": combination.ms_per_million_macs,
                "bias_ms": combination.bias_ms,
                "left_out": done.left_out,
            }
        )
        return
    output.print_table(
        ["learned from", *output.numbers("weight")],
        [(member.table, f"{member.weight:.3g}") for member in combination.members],
    )
    output.print_fields(
        {
            "per million MACs": LATENCY.format(combination.ms_per_million_macs),
            "constant": LATENCY.format(combination.bias_ms),
            "error on left-out probes": "unknown" if held_out is None else f"{held_out:.1f} %",
            "table": table.name,
            "folder": done.folder,
        }
    )
    for name in done.left_out:
        output.note(f"{name} does not cover the space and was left out.")
    limit = ["--device", table.device.name, "--latency", LATENCY.typed(done.median_ms, digits=2)]
    parent = [] if folder is None else ["--tables", str(folder)]
    output.next_step(search_command(*limit, *parent, space=done.space))

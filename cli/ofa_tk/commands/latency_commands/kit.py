"""`ofa-tk latency kit`: networks and one file that time a board without modern Python."""

from __future__ import annotations

import click

from ofa_tk import options, output
from ofa_tk.commands.latency_commands import kit_run
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core import files
from ofa_toolkit.core.quantities import MEMORY
from ofa_toolkit.pipelines.latency.request import KitRequest


@click.group("kit")
def command() -> None:
    """Build kits that measure a board."""


@command.command("build")
@request_options(KitRequest)
@options.json_option
@click.pass_context
def build(ctx: click.Context, request: KitRequest, as_json: bool) -> None:
    """Pack ONNX files the target can parse and a program that times them.

    The program is one file for Python 3.6 and its standard library; it drives trtexec or an installed
    onnxruntime, survives a reboot, and any part of its results can be imported.
    """
    from ofa_toolkit.latency.kit.build import is_kit
    from ofa_toolkit.pipelines.latency.kit import make_kit

    if (request.space is None) == (request.probes is None):
        raise click.UsageError("Give --space NAME, or --probes FILE.")
    if request.probes is not None and request.num_probes is not None:
        raise click.UsageError("--probes times all networks of its file; leave out --num-probes.")
    is_default = options.is_default_out(ctx)
    files.check_output(request.out, is_default=is_default, force=request.force, is_ours=is_kit)
    with TerminalReporter() as reporter:
        report = make_kit(request, reporter)
    if as_json:
        output.print_json(report)
        return
    output.print_fields(
        {
            "kit": f"{report.path} ({MEMORY.format(report.num_bytes)})",
            "target": report.target,
            "networks": f"{report.num_probes} of {report.space}, spread over {report.spread_over}",
            "format": f"ONNX opset {report.opset}, IR version {report.ir_version}, "
            f"batch {request.batch_size}",
            "precision": report.precision,
        }
    )
    output.note("On the board: unzip the kit, then python3 measure.py")
    name = "" if report.is_device else " --device my-board"
    output.next_step(f"ofa-tk latency import results.jsonl{name}")


command.add_command(kit_run.command)

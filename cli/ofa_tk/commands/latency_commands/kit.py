"""`ofa-tk latency kit`: networks and one file that time a board without modern Python."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import click

from ofa_tk import options, output
from ofa_tk.commands.latency_commands import kit_run
from ofa_toolkit.core import files
from ofa_toolkit.core.quantities import MEMORY

_NUM_PROBES = 40


@click.group("kit")
def command() -> None:
    """Build kits that measure a board."""


@command.command("build")
@click.option("--target", required=True, metavar="NAME", help="Device, or software such as tensorrt-8.2.")
@options.space_option("Search space of the networks.")
@click.option(
    "--probes",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Time the networks of a file of `latency calibrate --plan` instead.",
)
@click.option("--num-probes", type=click.IntRange(min=3), help="Networks to time.  [default: 40]")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Timed by default.  [default: fp16 where the target has it]",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Images per run."
)
@click.option(
    "--classes", type=click.IntRange(min=1), help="Outputs of the classifier.  [default: the space's]"
)
@click.option("--typed", is_flag=True, help="Also pack fp16 networks, for TensorRT 11 on an older target.")
@options.out_option("kit.zip", "The kit.")
@options.force_option
@options.seed_option
@options.tables_option
@options.json_option
@click.pass_context
def build(
    ctx: click.Context,
    target: str,
    space: str | None,
    probes: Path | None,
    num_probes: int | None,
    precision: Literal["fp32", "fp16", "int8"] | None,
    batch_size: int,
    classes: int | None,
    typed: bool,
    out: Path,
    force: bool,
    seed: int,
    tables: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Pack ONNX files the target can parse and a program that times them.

    The program is one file for Python 3.6 and its standard library; it drives trtexec or an installed
    onnxruntime, survives a reboot, and any part of its results can be imported.
    """
    from ofa_toolkit.latency.kit.build import is_kit
    from ofa_toolkit.latency.kit.probes_file import read_probes
    from ofa_toolkit.pipelines.latency.kit import make_kit

    if (space is None) == (probes is None):
        raise click.UsageError("Give --space NAME, or --probes FILE.")
    if probes is not None and num_probes is not None:
        raise click.UsageError("--probes times all networks of its file; leave out --num-probes.")
    files.check_output(out, is_default=options.is_default_out(ctx), force=force, is_ours=is_kit)
    num_probes = num_probes or (_NUM_PROBES if probes is None else len(read_probes(probes).population))
    with output.progress_bar("networks", num_probes) as on_progress:
        report = make_kit(
            out,
            target,
            space,
            probes_path=probes,
            num_probes=num_probes,
            precision=precision,
            batch_size=batch_size,
            num_classes=classes,
            has_typed_networks=typed,
            seed=seed,
            tables=tables,
            on_progress=on_progress,
        )
    if as_json:
        output.print_json(dataclasses.asdict(report))
        return
    output.print_fields(
        {
            "kit": f"{report.path} ({MEMORY.format(report.num_bytes)})",
            "target": report.target,
            "networks": f"{report.num_probes} of {report.space}, spread over {report.spread_over}",
            "format": f"ONNX opset {report.opset}, IR version {report.ir_version}, batch {batch_size}",
            "precision": report.precision,
        }
    )
    output.note("On the board: unzip the kit, then python3 measure.py")
    name = "" if report.is_device else " --device my-board"
    output.next_step(f"ofa-tk latency import results.jsonl{name}")


command.add_command(kit_run.command)

"""`ofa-tk latency devices`: which known device behaves like yours."""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_toolkit.core.command_line import command_line

_SHOWN = 10


@click.command("devices")
@click.option(
    "--like",
    "path",
    required=True,
    type=options.InputPath(dir_okay=False),
    metavar="FILE",
    help="A few networks you measured: results of a kit, a filled-in probes file, CSV.",
)
@options.space_option("Search space, where the file does not say.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per run, where the file does not say.")
@options.tables_option
@options.json_option
def command(
    path: Path, space: str | None, batch_size: int | None, tables: tuple[Path, ...], as_json: bool
) -> None:
    """Find the known device that behaves most like one you measured a few networks on.

    A device that ranks networks alike predicts yours up to its scale.
    """
    from ofa_toolkit.pipelines.latency.alike import alike_devices

    found = alike_devices(path, space_name=space, batch_size=batch_size, tables=tables)
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ["device", *output.numbers("rank correlation", "scale", "error")],
        [
            (
                each.table,
                "unknown" if each.spearman is None else f"{each.spearman:.3f}",
                f"x {each.scale:.3g}",
                f"{each.mape_percent:.1f} %",
            )
            for each in found[:_SHOWN]
        ],
    )
    output.note("scale: your times over its predictions; error: what is left, by the others' scale.")
    if len(found) > _SHOWN:
        output.note(f"{len(found) - _SHOWN} more are behind these; --json lists all.")
    if path.suffix == ".json":
        output.next_step(command_line("latency", "show", found[0].table.partition(":")[0]))
    else:
        words = () if space is None else ("--space", space)
        output.next_step(command_line("latency", "import", path, "--device", "my-board", *words))

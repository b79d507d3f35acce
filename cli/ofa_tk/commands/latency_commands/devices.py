"""`ofa-tk latency devices`: which known device behaves like yours."""

from __future__ import annotations

import click

from ofa_tk import options, output
from ofa_tk.request_options import request_options
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.pipelines.latency.request import LikenessRequest

_SHOWN = 10


@click.command("devices")
@request_options(LikenessRequest)
@options.json_option
def command(request: LikenessRequest, as_json: bool) -> None:
    """Find the known device that behaves most like one you measured a few networks on.

    A device that ranks networks alike predicts yours up to its scale.
    """
    from ofa_toolkit.pipelines.latency.alike import alike_devices, holds_standard_networks

    found = alike_devices(**vars(request))
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
    if request.path.suffix == ".json" or holds_standard_networks(request.path):
        output.next_step(command_line("latency", "show", found[0].table.partition(":")[0]))
    else:
        words = () if request.space_name is None else ("--space", request.space_name)
        output.next_step(command_line("latency", "import", request.path, "--device", "my-board", *words))

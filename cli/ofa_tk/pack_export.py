"""`ofa-tk export --front FRONT --pack DIR`: what it needs, and what is told of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ofa_tk import output
from ofa_tk.reporter import TerminalReporter

_PLAIN = {"front", "pack", "count", "supernet", "offline", "data", "keep_batchnorm", "force", "as_json"}


def export_pack(ctx: click.Context) -> None:
    """Write a pack from the options of `ofa-tk export`; those that do not apply are refused."""
    given = ctx.params
    if given["front"] is None or given["pack"] is None:
        raise click.UsageError("--front FILE and --pack DIR go together.")
    for parameter in ctx.command.params:
        name = str(parameter.name)
        is_default = ctx.get_parameter_source(name) is click.core.ParameterSource.DEFAULT
        if not is_default and name not in _PLAIN:
            raise click.UsageError(f"{parameter.opts[0]} does not go with --pack.")
    from ofa_toolkit.pipelines.export.pack import write_pack
    from ofa_toolkit.pipelines.search.front_file import read_front

    folder: Path = given["pack"]
    supernet = given["supernet"] or read_front(given["front"])["supernet"]
    manifest = write_pack(
        given["front"],
        folder,
        count=given["count"],
        supernet=supernet,
        data=given["data"],
        keep_batchnorm=given["keep_batchnorm"],
        force=given["force"],
        reporter=TerminalReporter(),
    )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    alone = [4 * entry["params"] for entry in manifest["subnets"]]
    if given["as_json"]:
        output.print_json({"pack": folder, "num_bytes": size, "manifest": manifest})
    else:
        _print_networks(manifest["subnets"])
        output.print_fields(
            {
                "size": f"{size / 1e6:.2f} MB; weights of the largest {max(alone) / 1e6:.2f} MB, of all "
                f"apart {sum(alone) / 1e6:.2f} MB",
                "pack": folder,
            }
        )
    output.next_step(shlex.join(["python", str(folder / "adaptive.py")]) + " --deadline 15ms IMAGE")


def _print_networks(entries: Sequence[Mapping[str, Any]]) -> None:
    output.print_table(
        ["network", "pixels", "predicted top-1 %", *entries[0]["costs"], "parameters"],
        [
            (
                entry["name"],
                entry["resolution"],
                f"{entry['top1_percent']:.2f}",
                *(f"{value:.4g}" for value in entry["costs"].values()),
                f"{entry['params']:,}",
            )
            for entry in entries
        ],
    )

"""`ofa-tk latency list`: devices and variants."""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_tk.output import Column


@click.command("list")
@click.option("--device", metavar="NAME", help="Of this device only.")
@options.tables_option
@options.json_option
def command(device: str | None, tables: tuple[Path, ...], as_json: bool) -> None:
    """List devices, the variants of their tables, and how wrong they are on unseen networks."""
    from ofa_toolkit.core.config import to_dict
    from ofa_toolkit.latency.device_names import find_device
    from ofa_toolkit.latency.table import list_devices

    devices = list_devices(tables)
    if device is not None:
        name = find_device(device, tables).name
        devices = [found for found in devices if found.name == name]
    if as_json:
        output.print_json([to_dict(found) for found in devices])
        return
    rows = []
    for found in devices:
        for variant in found.variants:
            mark = "*" if variant.name == found.default_variant else ""
            error = f"{variant.errors[0].mape_percent:g} %" if variant.errors else "unknown"
            rows.append((found.name, variant.name + mark, variant.provenance, variant.batch_size, error))
    columns: list[Column | str] = [
        "device",
        "variant",
        "provenance",
        Column(name="batch", is_number=True),
        Column(name="error", is_number=True),
    ]
    output.print_table(columns, rows)
    output.note("*: the default variant. error: mean, on networks that took no part in the fit.")
    output.note("transferred: that of the same procedure on devices it can be checked on, left out in turn.")
    output.note("`ofa-tk latency show DEVICE` tells conditions, sources and caveats.")

"""`ofa-tk latency list`: devices and variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output

if TYPE_CHECKING:
    from ofa_toolkit.latency.device import Device, Variant

_KINDS = {"gpu": "GPU", "embedded-gpu": "Jetson", "phone": "Phone", "npu": "NPU", "cpu": "CPU"}


@click.command("list")
@click.option("--device", metavar="NAME", help="All variants of this device.")
@click.option("--all", "shows_all", is_flag=True, help="All variants of every device.")
@options.tables_option
@options.json_option
def command(device: str | None, shows_all: bool, tables: tuple[Path, ...], as_json: bool) -> None:
    """List devices by kind, and how wrong their tables are on whole networks they have not seen."""
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
    rows = list(_rows(devices, shows_all=shows_all or device is not None))
    output.print_table(["device", "variant", "provenance", "whole networks"], rows)
    output.note("whole networks: error on unseen mobile ones of the measured kind, on this very device.")
    output.note("unchecked: none was timed there; the figure is the worst on other devices, by the same way.")
    output.note("`ofa-tk latency show DEVICE` tells conditions, sources and caveats.")


def _rows(devices: Sequence[Device], *, shows_all: bool) -> Iterator[tuple[str, str, str, str]]:
    for kind, title in _KINDS.items():
        own = [device for device in devices if device.kind == kind]
        if own:
            yield (title, "", "", "")
        for device in own:
            shown = device.variants if shows_all else (device.variant(),)
            for number, variant in enumerate(shown):
                mark = "*" if shows_all and variant.name == device.default_variant else ""
                name = f" {device.name}" if number == 0 else ""
                yield (name, variant.name + mark, variant.provenance, _error(variant))


def _error(variant: Variant) -> str:
    """The error short enough for a column."""
    from ofa_toolkit.latency.stated_error import UNCHECKED, error_of_mobile_networks

    error = error_of_mobile_networks(variant)
    text = error.text.partition(";")[0].removeprefix("mean ").removeprefix("error ")
    if error.is_checked:
        return text
    return UNCHECKED if error.percent is None else f"{error.percent:.2g} % {UNCHECKED}"

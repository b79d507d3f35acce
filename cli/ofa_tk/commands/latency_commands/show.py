"""`ofa-tk latency show`: the conditions of a device's tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output

if TYPE_CHECKING:
    from ofa_toolkit.latency.device import Device, Error, Variant
    from ofa_toolkit.latency.table import LatencyTable


@click.command("show")
@click.argument("device", metavar="DEVICE[:VARIANT]")
@options.tables_option
@options.json_option
def command(device: str, tables: tuple[Path, ...], as_json: bool) -> None:
    """Show a device and where its tables come from, or one variant in full."""
    from ofa_toolkit.core.config import to_dict
    from ofa_toolkit.latency.device_names import find_device
    from ofa_toolkit.latency.table import read_table

    name, _, variant_name = device.partition(":")
    place = find_device(name, tables)
    found = place.device
    if place.remark:
        output.warn(place.remark)
    if variant_name:
        variant = found.variant(variant_name)
        if as_json:
            output.print_json({"device": found.name, **to_dict(variant)})
        else:
            _print_variant(variant, read_table(place.path, variant.name, below=place.below))
        return
    if as_json:
        output.print_json(to_dict(found))
        return
    _print_device(found)
    for variant in found.variants:
        output.line()
        _print_variant(variant, read_table(place.path, variant.name, below=place.below))


def _print_device(device: Device) -> None:
    peak = {name: value for name, value in vars(device.peak).items() if value is not None}
    output.print_fields(
        {
            "chip": device.chip,
            "compute capability": device.compute_capability or "none",
            "memory": f"{device.memory_gb:g} GB" if device.memory_gb else "unknown",
            "TensorRT": device.software.tensorrt,
            "highest opset": device.software.opset or "none",
            "Python": device.software.python,
            "data sheet": ", ".join(f"{name} {value:g}" for name, value in peak.items()) or "unknown",
            "default variant": device.default_variant,
        },
        title=f"{device.title} ({device.name})",
    )


def _print_variant(variant: Variant, table: LatencyTable) -> None:
    inferred = f" (inferred: {', '.join(variant.is_inferred)})" if variant.is_inferred else ""
    output.print_fields(
        {
            "provenance": variant.provenance,
            "runtime": f"{variant.runtime}, version {variant.runtime_version}",
            "precision, batch": f"{variant.precision}, {variant.batch_size}{inferred}",
            "measures": variant.measures,
            "clocks": variant.clocks,
            "networks": variant.networks,
            "method": variant.method,
            "errors": "each with its kind, below" if variant.errors else "unknown",
            "bounds": _bounds(table),
            "source": variant.source,
            "licence": variant.source_licence,
            "date": variant.date,
            "identity": variant.identity,
        },
        title=variant.name,
    )
    for error in variant.errors:
        output.line(f"- {_described(error)}")
    for caveat in variant.caveats:
        output.line(f"! {caveat}")


def _described(error: Error) -> str:
    """An error in one line, its kind first."""
    where = f" on {error.device}, not on this device" if error.device else ""
    rank = f", Spearman {error.spearman:g}" if error.spearman is not None else ""
    singles = ", ".join(f"{name} {value:+g} %" for name, value in (error.deviations or {}).items())
    return (
        f"{error.kind}{where}: mean error {error.mape_percent:g} %{rank}, {error.num_networks} of them "
        f"({error.split}; {error.space})" + (f": {singles}" if singles else "")
    )


def _bounds(table: LatencyTable) -> str:
    bound = table.content.bound
    return "uncalibrated" if bound is None else f"calibrated on {len(bound.scores)} held-out networks"

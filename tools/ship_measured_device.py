"""Make a device that `ofa-tk latency measure` measured one that ships.

    python tools/ship_measured_device.py FOLDER [--out latency_tables]

FOLDER is what the command wrote: `device.toml`, one table a variant, and its journals. The tables are taken
over as they are. What the machine says about itself is replaced by what `latency_fitting/facts.py` says about
the device, and the source is named; the journals stay behind.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from latency_fitting.facts import MEASURED

from ofa_toolkit.core.config import from_dict, to_dict
from ofa_toolkit.latency.device import Device, Variant, read_device, write_device
from ofa_toolkit.latency.kit.board.journal import Journal
from ofa_toolkit.latency.measuring.measure import reference_drift
from ofa_toolkit.latency.measuring.own_table import JOURNALS, SOURCE
from ofa_toolkit.latency.table import read_table
from ofa_toolkit.latency.table_file import SUFFIX, write_content

_LEAST_DRIFT = 0.05


def shipped_variant(variant: Variant, drifts: Mapping[str, float], clocks: str) -> Variant:
    """The variant under the name and the source it ships with.

    Args:
        variant: As `latency measure` wrote it.
        drifts: By space, how far a reference network varied while its units were timed.
        clocks: What is known of power and clocks.
    """
    fewest = min(error.num_networks for error in variant.errors)
    varied = [f"{share:.0%} ({space})" for space, share in drifts.items() if share > _LEAST_DRIFT]
    drift = f"The speed of the machine changed meanwhile: a reference network varied by {', '.join(varied)}."
    uncalibrated = f"Uncalibrated: {fewest} held-out subnets of each space cannot back bounds."
    return dataclasses.replace(
        variant,
        name=variant.name.replace("this-machine-", "ofa-tk-"),
        source="ofa-toolkit latency measure",
        source_licence="Apache-2.0",
        clocks=clocks,
        caveats=(uncalibrated, *([drift] if varied else [])),
    )


def drifts_of(folder: Path, variant: Variant) -> dict[str, float]:
    """By space, from the journals beside the tables."""
    found = {}
    for path in sorted((folder / JOURNALS).glob(f"{variant.name}.*.jsonl")):
        drift = reference_drift(Journal(str(path), read_only=True))
        if drift is not None:
            found[path.name.removeprefix(f"{variant.name}.").removesuffix(".jsonl")] = drift
    return found


def ship(folder: Path, out: Path) -> Device:
    """Write the device's folder below `out`."""
    device = read_device(folder)
    fact = MEASURED[device.name]
    own = [variant for variant in device.variants if variant.source == SOURCE]
    variants: Sequence[Variant] = [
        shipped_variant(variant, drifts_of(folder, variant), fact["clocks"]) for variant in own
    ]
    target = out / device.name
    target.mkdir(parents=True, exist_ok=True)
    for before, after in zip(own, variants, strict=True):
        write_content(target / f"{after.name}{SUFFIX}", read_table(folder, before.name).content)
    described = {key: value for key, value in fact.items() if key != "clocks"}
    shipped = from_dict(Device, {**described, "variants": [to_dict(variant) for variant in variants]})
    write_device(target, shipped)
    return shipped


def main() -> int:
    """Take a measured device over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder that `ofa-tk latency measure` wrote")
    parser.add_argument("--out", type=Path, default=Path("latency_tables"))
    options = parser.parse_args()
    shipped = ship(options.folder, options.out)
    for variant in shipped.variants:
        print(f"{shipped.name}:{variant.name}  {variant.networks}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

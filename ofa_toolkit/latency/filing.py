"""Filing a latency table: one way for what was measured here, imported, or calibrated.

What is filed lies in a folder of the user's. For a device that is known already (bundled, or filed before)
the folder adds a variant; it repeats the device's facts and hides nothing of it (`device.read_device`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from pathlib import Path

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import LatencyTableError, MismatchError, OutputError
from ofa_toolkit.latency.device import DEVICE_FILE, Device, read_device
from ofa_toolkit.latency.table import LatencyTable, write_table
from ofa_toolkit.latency.table_file import TableContent

_NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


def device_folder(parent: Path | None, name: str) -> Path:
    """Where tables of a device are filed; `parent` is a folder of devices, None for the user's own.

    Raises:
        LatencyTableError: The name cannot be a device's.
    """
    if not _NAME.fullmatch(name):
        raise LatencyTableError(
            f"'{name}' is not a device's name; use lower-case letters, digits and dashes.",
            hint=f"--device {'-'.join(re.findall('[a-z0-9]+', name.lower())) or 'my-device'}",
        )
    return (parent or resources.user_data_path("latency_tables")) / name


def known_device(parent: Path | None, name: str) -> Device | None:
    """What is known of a device before something is filed; None for a new one."""
    entry = resources.entries("latency_tables").get(name)
    layers = () if entry is None else (entry.path, *entry.below)
    own = device_folder(parent, name)
    places = [own] if (own / DEVICE_FILE).is_file() else []
    places += [place for place in layers if place != own]
    return read_device(places[0], places[1:]) if places else None


def file_variant(
    parent: Path | None,
    fresh: Device,
    content: TableContent,
    *,
    stated: Mapping[str, str | None] | None = None,
    keep_default: bool = False,
    force: bool = False,
) -> LatencyTable:
    """Write a table as a variant of its device.

    Args:
        parent: Folder of devices; None for the user's own.
        fresh: The device with this one variant; its facts count where nothing else is known.
        content: The predictors.
        stated: Facts the user insists on; another device has others.
        keep_default: Leave the default to the variant filed first.
        force: Replace a table of the same name.

    Raises:
        OutputError: The folder holds another table under that name.
        MismatchError: The device of that name has other facts.
    """
    folder, (variant,) = device_folder(parent, fresh.name), fresh.variants
    known = (known_device(parent, fresh.name) or fresh).over(fresh)
    for fact, value in (stated or {}).items():
        if value not in (None, getattr(known, fact)):
            raise MismatchError(
                f"The {fact} of '{fresh.name}' is '{getattr(known, fact)}', not '{value}'.",
                hint="Leave the option out, or file another device under another name: --device NAME",
            )
    own = read_device(folder) if (folder / DEVICE_FILE).is_file() else None
    before = {} if own is None else {each.name: each.identity for each in own.variants}
    if not force and before.get(variant.name, variant.identity) != variant.identity:
        raise OutputError(
            f"'{fresh.name}' already has a table '{variant.name}'; it would be replaced.",
            hint="Add --force to replace it.",
        )
    described = dataclasses.replace(
        known,
        variants=(variant,) if own is None else fresh.over(own).variants,
        default_variant=own.default_variant if own is not None and keep_default else variant.name,
    )
    table = LatencyTable(device=described, variant=variant, content=content)
    write_table(folder, table)
    return table


def today() -> str:
    """The date of a table that is made now."""
    return dt.datetime.now(tz=dt.timezone.utc).date().isoformat()

"""Filing what others measured: the variant's name and conditions, and the device it belongs to."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.latency.device import DEVICE_FILE, UNKNOWN, Device, Error, Provenance, Variant, read_device
from ofa_toolkit.latency.importing import Conditions
from ofa_toolkit.latency.table import LatencyTable, write_table
from ofa_toolkit.latency.table_file import TableContent

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where measurements come from.

    Attributes:
        source: Who measured.
        licence: Of the source.
    """

    source: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Account:
    """How measurements became a table, in words and figures; the fields are those of a `Variant`."""

    provenance: Provenance
    method: str
    networks: str
    errors: tuple[Error, ...]
    caveats: tuple[str, ...]


def check_conditions(conditions: Conditions) -> None:
    """Refuse conditions without which a number means nothing.

    Raises:
        FileFormatError: Runtime, precision or batch size is not known.
    """
    needed = {"runtime": "NAME", "precision": "fp16", "batch_size": "1"}
    missing = [name for name in needed if getattr(conditions, name) is None]
    if missing:
        options = " ".join(f"--{name.replace('_', '-')} {needed[name]}" for name in missing)
        raise FileFormatError(f"The measurements do not say their {missing[0]}.", hint=f"Add {options}.")


def file_imported(
    parent: Path | None,
    device_name: str,
    conditions: Conditions,
    origin: Origin,
    account: Account,
    content: TableContent,
) -> LatencyTable:
    """Write a variant into a device, which is made if there is none of that name.

    A folder of the user hides a bundled device of the same name, so that one's tables are copied into it.

    Args:
        parent: Folder of devices; None for the user's own.
        device_name: Name of the device.
        conditions: Complete conditions, see `check_conditions`.
        origin: Who measured.
        account: How it became a table.
        content: The predictors.
    """
    folder = (parent or resources.user_data_path("latency_tables")) / device_name
    if not (folder / DEVICE_FILE).is_file():
        bundled = resources.entries("latency_tables").get(device_name)
        if bundled is not None and bundled.path != folder:
            shutil.copytree(bundled.path, folder, dirs_exist_ok=True)
    variant = _variant(conditions, origin, account, content)
    table = LatencyTable(device=_device(folder, conditions, variant), variant=variant, content=content)
    write_table(folder, table)
    return table


def _variant(conditions: Conditions, origin: Origin, account: Account, content: TableContent) -> Variant:
    assert conditions.runtime is not None
    assert conditions.batch_size is not None
    words = [_plain(origin.source), _plain(conditions.runtime)]
    return Variant(
        name="-".join([*words, str(conditions.precision), str(conditions.batch_size)]),
        source=origin.source,
        source_licence=origin.licence,
        date=dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        runtime=conditions.runtime,
        runtime_version=conditions.runtime_version or UNKNOWN,
        precision=cast(Precision, conditions.precision),
        batch_size=conditions.batch_size,
        clocks=conditions.clocks or UNKNOWN,
        threads=conditions.threads,
        provenance=account.provenance,
        method=account.method,
        networks=account.networks,
        errors=account.errors,
        caveats=account.caveats,
        identity=content.identity,
    )


def _plain(text: str) -> str:
    """Words that may stand in a variant's name."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())) or "unnamed"


def _device(folder: Path, conditions: Conditions, variant: Variant) -> Device:
    """The device with the variant as its default: own measurements come before others'."""
    if (folder / DEVICE_FILE).is_file():
        return read_device(folder).with_variants([variant], default=variant.name)
    is_gpu = conditions.runtime == "tensorrt"
    return Device(
        name=folder.name,
        title=conditions.processor or folder.name,
        kind="gpu" if is_gpu else "cpu",
        chip=conditions.processor or UNKNOWN,
        default_variant=variant.name,
        variants=(variant,),
    )

"""The variant of a table that others measured: its name, its conditions, and how it came about."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.latency.device import UNKNOWN, Device, Error, Provenance, Variant
from ofa_toolkit.latency.filing import today
from ofa_toolkit.latency.importing.measurements import Conditions
from ofa_toolkit.latency.table_file import TableContent


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where measurements come from.

    Attributes:
        source: Person or project that measured.
        licence: Licence of the source.
    """

    source: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Derivation:
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


def imported_device(
    name: str, conditions: Conditions, origin: Origin, account: Derivation, content: TableContent
) -> Device:
    """A device with the imported table as its variant.

    Args:
        name: Name of the device.
        conditions: Complete conditions, see `check_conditions`.
        origin: Source of the measurements, and its licence.
        account: Method and errors of the table.
        content: The predictors.
    """
    variant = described_variant(variant_name(origin.source, conditions), conditions, origin, account, content)
    return Device(
        name=name,
        title=conditions.processor or name,
        kind=conditions.kind,
        chip=conditions.processor or UNKNOWN,
        default_variant=variant.name,
        variants=(variant,),
    )


def variant_name(source: str, conditions: Conditions) -> str:
    """Name of the variant that measurements under complete conditions become."""
    words = [_plain(source), _plain(conditions.runtime or ""), conditions.precision, conditions.batch_size]
    return "-".join(str(word) for word in (*words, _power_mode(conditions)) if word is not None)


def _power_mode(conditions: Conditions) -> str | None:
    """`MODE_15W_2CORE` of nvpmodel is `15w-2core`."""
    if conditions.power_mode is None:
        return None
    return _plain(conditions.power_mode.replace("_", " ")).removeprefix("mode-")


def described_variant(
    name: str, conditions: Conditions, origin: Origin, account: Derivation, content: TableContent
) -> Variant:
    """A variant of today under complete conditions, see `check_conditions`."""
    assert conditions.runtime is not None
    assert conditions.batch_size is not None
    assert conditions.precision is not None
    return Variant(
        name=name,
        source=origin.source,
        source_licence=origin.licence,
        date=today(),
        runtime=conditions.runtime,
        runtime_version=conditions.runtime_version or UNKNOWN,
        precision=conditions.precision,
        batch_size=conditions.batch_size,
        clocks=conditions.clocks or UNKNOWN,
        power_mode=_power_mode(conditions),
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

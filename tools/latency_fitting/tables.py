"""What a source contributes: the content of a table and its conditions; and device folders made of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_fitting.metrics import contiguous_folds
from latency_fitting.monotonicity import monotonicity_caveat
from ofa_toolkit.core.config import from_dict, to_dict
from ofa_toolkit.core.errors import OfaToolkitError
from ofa_toolkit.latency.device import Device, Error, Variant, read_device, write_device
from ofa_toolkit.latency.predictors.intervals import MIN_SCORES, ConformalBound
from ofa_toolkit.latency.table_file import SUFFIX, TableContent, write_content

Array = npt.NDArray[np.float64]

_CONFIDENCES = (0.8, 0.9, 0.95)
_TOLERANCE = 0.03
SHIFTED = (
    "Uncalibrated: rows measured together were exceeded more or less often than the rest promises, so the "
    "measurements come from sessions that differ."
)


@dataclass(frozen=True, kw_only=True)
class FittedTable:
    """One variant as a source made it, before it knows its identity."""

    device: str
    name: str
    content: TableContent
    conditions: dict[str, Any]
    errors: Sequence[Error] = field(default_factory=tuple)
    caveats: Sequence[str] = field(default_factory=tuple)

    def variant(self) -> Variant:
        """The entry of the device file."""
        falls = monotonicity_caveat(self.content)
        return from_dict(
            Variant,
            {
                "name": self.name,
                "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
                "identity": self.content.identity,
                "errors": [to_dict(error) for error in self.errors],
                "caveats": [*self.caveats, *([falls] if falls else [])],
                **self.conditions,
            },
        )


def honest_bound(measured: Array, held_out_predictions: Array) -> ConformalBound | None:
    """Held-out scores, if every fifth of the rows in order of measuring is covered as the rest promises.

    Three points more or less are allowed, and one standard error of counting that many rows.
    """
    if len(measured) < MIN_SCORES:
        return None
    scores = np.log(measured / held_out_predictions)
    for block in contiguous_folds(len(measured)):
        rest = ConformalBound.from_held_out(measured[~block], held_out_predictions[~block])
        if rest is None:
            return None
        for confidence in _CONFIDENCES:
            covered = float(np.mean(scores[block] <= np.log(rest.factor(confidence))))
            chance = np.sqrt(confidence * (1 - confidence) / block.sum())
            if abs(covered - confidence) > _TOLERANCE + chance:
                return None
    return ConformalBound.from_held_out(measured, held_out_predictions)


def write_devices(
    folder: Path, facts: Sequence[dict[str, Any]], tables: Sequence[FittedTable], *, keep_others: bool
) -> None:
    """One folder per device; a variant whose content is unchanged keeps its date.

    Args:
        folder: Where the device folders lie.
        facts: Of every device.
        tables: What the sources made.
        keep_others: Whether variants that are not among the tables stay; otherwise they are removed.
    """
    known = {fact["name"] for fact in facts}
    strangers = sorted({table.device for table in tables} - known)
    assert not strangers, strangers
    for fact in facts:
        own = sorted((t for t in tables if t.device == fact["name"]), key=lambda table: table.name)
        if not own:
            continue
        target = folder / fact["name"]
        target.mkdir(parents=True, exist_ok=True)
        variants = [to_dict(_with_old_date(target, table.variant())) for table in own]
        if keep_others:
            made = {table.name for table in own}
            variants += [to_dict(old) for old in _old_variants(target).values() if old.name not in made]
            variants.sort(key=lambda variant: str(variant["name"]))
        device = from_dict(Device, {**fact, "variants": variants}, source=fact["name"])
        for table in own:
            write_content(target / f"{table.name}{SUFFIX}", table.content)
        write_device(target, device)
        for path in target.glob(f"*{SUFFIX}"):
            if path.stem not in {str(variant["name"]) for variant in variants}:
                path.unlink()


def _old_variants(target: Path) -> dict[str, Variant]:
    try:
        return {variant.name: variant for variant in read_device(target).variants}
    except OfaToolkitError:
        return {}


def _with_old_date(target: Path, variant: Variant) -> Variant:
    before = _old_variants(target).get(variant.name)
    return replace(variant, date=before.date) if before and before.identity == variant.identity else variant

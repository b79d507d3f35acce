"""Check a zoo entry: its files against its card, and with images its card against its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.errors import StoreError, VerificationError
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.pipelines.zoo.accuracy import AccuracyQuery, measure
from ofa_toolkit.zoo.entries import ZooEntry, check_file
from ofa_toolkit.zoo.readme import accuracy_of
from ofa_toolkit.zoo.resolving import fetch_checkpoint, supernet_folder
from ofa_toolkit.zoo.store import Store

TOLERANCE_POINTS = 0.3


@dataclass(frozen=True, kw_only=True)
class VerifiedClaim:
    """One thing that was checked.

    Attributes:
        subject: A file, or a figure of the card.
        is_right: Whether it is what the card says.
        detail: The finding in words.
        claimed: The card's figure, in percent, where the subject is one.
        measured: The figure measured now.
    """

    subject: str
    is_right: bool
    detail: str
    claimed: float | None = None
    measured: float | None = None


def verify_entry(
    entry: ZooEntry,
    *,
    data: str | None = None,
    reporter: Reporter = SILENT,
) -> tuple[VerifiedClaim, ...]:
    """Re-hash every file of an entry, fetched first; with a data set, re-evaluate every measured figure.

    Args:
        entry: Bundled, downloaded, or in a folder of the user's.
        data: The data set the card's figures refer to; None checks the files only.
        reporter: Hears each figure as it is measured.

    Raises:
        StoreError: The entry cannot be fetched.
        DataError, MismatchError: The data set is missing or another one.
        ConfigError: A figure does not state its conditions.
    """
    findings = list(_files(entry))
    if data is not None:
        if not all(finding.is_right for finding in findings):
            place = entry.folder if entry.origin == "given" else entry.name
            raise VerificationError(
                f"'{entry.name}': the files are not those of the card, so its figures are not theirs.",
                hint=f"`{command_line('zoo', 'verify', place)}` without --data lists what is wrong.",
            )
        findings += _figures(entry, data, reporter)
    return tuple(findings)


def _files(entry: ZooEntry) -> Iterator[VerifiedClaim]:
    card, store = entry.card, Store()
    if card.availability == "link":
        raise StoreError(f"'{entry.name}' is only described here; there are no files to check.")
    for file in card.files:
        if card.availability == "included":
            problem = check_file(entry, file)
        elif store.holds(entry.name, file):
            problem = None if store.find(entry.name, file) else "the copy in the cache is damaged"
        else:
            problem = None
            fetch_checkpoint(entry)  # which checks it
        yield VerifiedClaim(
            subject=file.path, is_right=problem is None, detail=problem or "is the file of the card"
        )


def _figures(entry: ZooEntry, data: str, reporter: Reporter) -> Iterator[VerifiedClaim]:
    claimed = [fact for fact in entry.card.accuracy if fact.origin == "measured"]
    questions = [AccuracyQuery.of_fact(fact, index) for index, fact in enumerate(claimed)]
    if not claimed:
        return
    folder = entry.folder if entry.card.availability == "included" else supernet_folder(entry)
    for fact, found in zip(claimed, measure(folder, questions, data, reporter), strict=True):
        difference = max(
            abs(found.top1_percent - fact.top1_percent),
            abs((found.top1_among_percent or 0) - (fact.top1_among_percent or 0)),
        )
        same_cost = (fact.macs, fact.params) == (found.macs, found.params)
        detail = f"card {accuracy_of(fact)}, measured {accuracy_of(found)}"
        if not same_cost:
            detail += f"; MACs and parameters are {found.macs} and {found.params}"
        yield VerifiedClaim(
            subject=f"{fact.subnet} at {fact.resolution} pixels",
            is_right=difference <= TOLERANCE_POINTS and same_cost,
            detail=detail,
            claimed=fact.top1_percent,
            measured=found.top1_percent,
        )

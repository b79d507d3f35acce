"""The zoo's entries: bundled ones, the user's own, and one by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import MismatchError, StoreError, UnknownNameError
from ofa_toolkit.core.resources import Origin
from ofa_toolkit.zoo.card import Card, FileFacts, read_card
from ofa_toolkit.zoo.identity import Identity

HUB_PREFIX = "hf-hub:"

_OTHER_SPELLINGS = re.compile(
    r"(hf|hub|hf[-_]?hub|huggingface)(_hub)?:/*|https?://(www\.)?(huggingface|hf)\.co/", re.IGNORECASE
)


def is_hub_name(text: str) -> bool:
    """Whether a text names a repository on the Hugging Face Hub.

    Raises:
        UnknownNameError: It does in another spelling than ours; names the right one.
    """
    if text.startswith(HUB_PREFIX):
        return True
    if (found := _OTHER_SPELLINGS.match(text)) is not None:
        repository = text[found.end() :].strip("/")
        raise UnknownNameError(
            f"'{text}' is not how a repository on the Hugging Face Hub is named here.",
            hint=f"Write {HUB_PREFIX}{repository or 'USER/REPO'}",
        )
    return False


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """A card and the folder it lies in."""

    card: Card
    folder: Path
    origin: Origin

    @property
    def name(self) -> str:
        """Name of the entry."""
        return self.card.name


def list_entries(
    *,
    space: str | None = None,
    dataset: str | None = None,
    licence: str | None = None,
    commercial_only: bool = False,
) -> tuple[ZooEntry, ...]:
    """All entries that pass the filters, by name.

    Args:
        space: Name of the search space, exactly.
        dataset: Part of the data set's name, in any case.
        licence: Part of the licence's name, in any case.
        commercial_only: Leave out what excludes commercial use.

    Raises:
        FileFormatError: A card is damaged.
    """
    found = (load_entry(entry.path, entry.origin) for entry in resources.entries("zoo").values())
    return tuple(
        entry
        for entry in found
        if (space is None or entry.card.space == space)
        and (dataset is None or dataset.lower() in entry.card.data.name.lower())
        and (licence is None or licence.lower() in entry.card.licence.name.lower())
        and not (commercial_only and entry.card.licence.is_non_commercial)
    )


def find_entry(name: str) -> ZooEntry:
    """The entry of that name.

    Raises:
        UnknownNameError: There is none; names the nearest.
        FileFormatError: The entry's card is damaged.
    """
    entry = resources.find_entry("zoo", name)
    return load_entry(entry.path, entry.origin)


def load_entry(folder: Path, origin: Origin = "given") -> ZooEntry:
    """The entry in a folder.

    Raises:
        FileFormatError: There is no card, or it is damaged.
        MismatchError: The card is another entry's.
    """
    card = read_card(folder)
    if origin != "given" and card.name != folder.name:
        raise MismatchError(f"'{folder}' holds the card of '{card.name}'.", hint="Rename the folder.")
    return ZooEntry(card=card, folder=folder, origin=origin)


def refuse_link(entry: ZooEntry) -> None:
    """Raise `StoreError` for an entry that is only described."""
    card = entry.card
    if card.availability == "link":
        raise StoreError(
            f"'{card.name}' is only described here ({card.licence.name}): {card.licence.statement}",
            hint=f"See {card.links[0]}",
        )


def check_files(entry: ZooEntry) -> tuple[str, ...]:
    """What is wrong with the files that should lie beside the card; empty when nothing is."""
    if entry.card.availability != "included":
        return ()
    return tuple(problem for file in entry.card.files if (problem := check_file(entry, file)))


def check_file(entry: ZooEntry, file: FileFacts) -> str | None:
    """What is wrong with one file in the entry's folder, or None."""
    path = entry.folder / file.path
    if not path.is_file():
        return f"'{file.path}' is missing"
    mismatch = Identity.of_card(file).mismatch(path)
    return None if mismatch is None else f"'{file.path}' is not the file of the card: {mismatch}"

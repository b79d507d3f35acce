"""The zoo for a user: what there is, what one entry is, fetching, ready architectures, uploading."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core.errors import UnknownNameError
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
from ofa_toolkit.zoo.card import Availability, Card
from ofa_toolkit.zoo.entries import ZooEntry, is_hub_name, list_entries, load_entry
from ofa_toolkit.zoo.hub import hub_folder
from ofa_toolkit.zoo.published_subnets import ListedSubnet, list_published_subnets
from ofa_toolkit.zoo.store import Store


@dataclass(frozen=True, kw_only=True)
class EntrySummary:
    """One line of `zoo list`.

    Attributes:
        name: Name of the entry.
        space: Search space of the entry, None where this project does not have it.
        dataset: Data set that it was trained on.
        num_classes: Outputs of the classifier.
        licence: Name of the licence of the files.
        is_non_commercial: Whether commercial use is excluded.
        availability: `included`, `download` or `link`.
        is_here: Whether it can be used without the network now.
        num_bytes: Size of its files, exact or worked out; None where unknown.
        num_published_subnets: Ready architectures that come with it.
        summary: One sentence.
    """

    name: str
    space: str | None
    dataset: str
    num_classes: int
    licence: str
    is_non_commercial: bool
    availability: Availability
    is_here: bool
    num_bytes: int | None
    num_published_subnets: int
    summary: str


def summarize_entries(entries: Iterable[ZooEntry]) -> tuple[EntrySummary, ...]:
    """One summary an entry."""
    store = Store()
    return tuple(_summarize(entry, store) for entry in entries)


def find(name_or_dir: str) -> ZooEntry | ListedSubnet:
    """An entry by name or folder, or of the hub, or a published subnet by name.

    Raises:
        UnknownNameError: Neither; names the nearest.
        FileFormatError: A card is damaged.
    """
    if is_hub_name(name_or_dir):
        return load_entry(hub_folder(name_or_dir))
    if os.sep in name_or_dir or name_or_dir.startswith("."):
        return load_entry(Path(name_or_dir))
    entries = list_entries()
    by_name: dict[str, ZooEntry | ListedSubnet] = {entry.name: entry for entry in entries}
    by_name |= {found.published.name: found for found in list_published_subnets(entries)}
    # The authors' own spelling of a subnet has `@` where file names have `-`.
    name = name_or_dir if name_or_dir in by_name else name_or_dir.replace("@", "-")
    if name not in by_name and Path(name_or_dir).is_dir():
        return load_entry(Path(name_or_dir))
    if name not in by_name:
        close = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
        raise UnknownNameError(
            f"No zoo entry and no published subnet is called '{name_or_dir}'.",
            hint=f"Did you mean '{close[0]}'?" if close else "`ofa-tk zoo list` shows all.",
        )
    return by_name[name]


def write_published_subnet(found: ListedSubnet, path: Path) -> bool:
    """Write a published architecture as `subnet.json`.

    Returns:
        Whether the space offers its resolution, so that it can be used with the space's tables and
        predictors as they are.

    Raises:
        OutputError: The file cannot be written.
    """
    published, card = found.published, found.entry.card
    assert card.space is not None
    space = get_space(card.space)
    write_subnet(
        path,
        SubnetFile(
            space=space,
            supernet=found.entry.name,
            subnet=published.subnet,
            search={"source": found.source, "published": found.figures()},
        ),
    )
    return published.resolution in space.resolutions


def is_here(card: Card, store: Store) -> bool:
    """Whether an entry's files can be had without the network; `zoo verify` tells whether they are right."""
    if card.availability == "included":
        return True
    return card.availability == "download" and store.holds(card.name, card.checkpoint)


def _summarize(entry: ZooEntry, store: Store) -> EntrySummary:
    card = entry.card
    sizes = [file.size if file.size is not None else file.approximate_size for file in card.files]
    return EntrySummary(
        name=card.name,
        space=card.space,
        dataset=card.data.name,
        num_classes=card.data.num_classes,
        licence=card.licence.name,
        is_non_commercial=card.licence.is_non_commercial,
        availability=card.availability,
        is_here=is_here(card, store),
        num_bytes=sum(size for size in sizes if size is not None) if sizes and None not in sizes else None,
        num_published_subnets=len(list_published_subnets([entry])),
        summary=card.summary,
    )


__all__ = [
    "EntrySummary",
    "find",
    "is_here",
    "list_entries",
    "list_published_subnets",
    "summarize_entries",
    "write_published_subnet",
]

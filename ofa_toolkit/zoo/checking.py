"""Comparing an entry's files with its card."""

from __future__ import annotations

from ofa_toolkit.zoo.card import FileFacts
from ofa_toolkit.zoo.entries import ZooEntry
from ofa_toolkit.zoo.identity import Identity


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

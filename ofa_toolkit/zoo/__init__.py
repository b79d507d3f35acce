"""The zoo: pretrained supernets described by cards, fetched safely, kept where they can be trusted."""

from __future__ import annotations

from ofa_toolkit.zoo.card import Card, FileFacts, read_card, write_card
from ofa_toolkit.zoo.entries import ZooEntry, find_entry, list_entries
from ofa_toolkit.zoo.resolving import download_supernet, resolve_supernet
from ofa_toolkit.zoo.store import Store

__all__ = [
    "Card",
    "FileFacts",
    "Store",
    "ZooEntry",
    "download_supernet",
    "find_entry",
    "list_entries",
    "read_card",
    "resolve_supernet",
    "write_card",
]

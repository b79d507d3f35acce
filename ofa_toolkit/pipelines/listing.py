"""Names of what ships with the package and of the user's own."""

from __future__ import annotations

from ofa_toolkit.latency.table import list_devices as read_devices
from ofa_toolkit.zoo.entries import list_entries


def list_supernets() -> list[str]:
    """Names that `load_supernet` takes; some have to be downloaded before their weights are used."""
    return [entry.name for entry in list_entries() if entry.card.availability != "link"]


def list_devices() -> list[str]:
    """Names of the devices with latency tables."""
    return [device.name for device in read_devices()]

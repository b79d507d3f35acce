"""From an entry whose checkpoint has to be fetched to a folder with a supernet in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ofa_toolkit.core.errors import StoreError
from ofa_toolkit.spaces.supernet_description import CONFIG_FILE
from ofa_toolkit.zoo.entries import HUB_PREFIX, ZooEntry, find_entry, refuse_link
from ofa_toolkit.zoo.hub import download_from_hub
from ofa_toolkit.zoo.identity import identify
from ofa_toolkit.zoo.importing import import_checkpoint
from ofa_toolkit.zoo.sources import MIRROR_VARIABLE
from ofa_toolkit.zoo.store import Store, describe_size


def converted_folder(entry: ZooEntry, store: Store | None = None) -> Path:
    """The supernet folder made from an entry's checkpoint; nothing is fetched over the network.

    Args:
        entry: Of availability `download`.
        store: Where downloads are kept; default the user's cache.

    Raises:
        StoreError: The entry has to be downloaded first.
        FileFormatError, CheckpointError, MismatchError: A local checkpoint cannot be imported.
    """
    store = store or Store()
    checkpoint = entry.card.checkpoint
    found = store.find(entry.name, checkpoint)
    if found is not None:
        folder = _import_folder(entry, store, found)
        if (folder / CONFIG_FILE).is_file():
            return folder
    if found is not None or store.can_fetch_locally(entry.name, checkpoint):
        return _fetched(entry, store)
    raise StoreError(
        f"The supernet '{entry.name}' is not on this machine; its file has {describe_size(checkpoint)}.",
        hint=f"`ofa-tk zoo download {entry.name}` gets it from {checkpoint.mirrors[0]}; with a copy of your "
        f"own, set {MIRROR_VARIABLE} to the file or its folder.",
    )


def download_supernet(name: str, *, store: Store | None = None) -> Path:
    """Fetch a supernet and make it ready; what is here already is only checked.

    Args:
        name: Name of an entry, or `hf-hub:USER/REPO[@REVISION]`.
        store: Where downloads are kept and how they are made.

    Returns:
        A folder with `config.json` and `model.safetensors`.

    Raises:
        StoreError: It cannot be had; see `Store.fetch`.
        UnknownNameError: No such entry.
        CheckpointError, MismatchError: The file is not what its card says.
    """
    store = store or Store()
    if name.startswith(HUB_PREFIX):
        return download_from_hub(name, offline=store.offline)
    entry = find_entry(name)
    refuse_link(entry)
    return entry.folder if entry.card.availability == "included" else _fetched(entry, store)


def _fetched(entry: ZooEntry, store: Store) -> Path:
    """The folder made from the checkpoint, which is fetched where it is not here."""
    checkpoint = store.fetch(entry.name, entry.card.checkpoint)
    identity = identify(checkpoint)
    folder = _import_folder(entry, store, checkpoint)
    if (folder / CONFIG_FILE).is_file():
        return folder
    with store.locked(folder.name):
        if not (folder / CONFIG_FILE).is_file():
            import_checkpoint(entry, checkpoint, identity, folder)
    return folder


def _import_folder(entry: ZooEntry, store: Store, checkpoint: Path) -> Path:
    """Named by all that goes into it, so that an upgrade never meets an old conversion."""
    content = hashlib.sha256(checkpoint.name.encode())
    for path in sorted(path for path in entry.folder.iterdir() if path.is_file()):
        content.update(path.name.encode() + path.read_bytes())
    return store.folder / "supernets" / f"{entry.name}-{content.hexdigest()[:16]}"

"""From what a user writes after `--supernet` to a folder with a supernet in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import StoreError, unknown_name
from ofa_toolkit.core.resources import Entry
from ofa_toolkit.zoo.entries import ZooEntry, load_entry
from ofa_toolkit.zoo.hub import HUB_PREFIX, download_from_hub
from ofa_toolkit.zoo.identity import identify
from ofa_toolkit.zoo.importing import import_checkpoint
from ofa_toolkit.zoo.sources import MIRROR_VARIABLE
from ofa_toolkit.zoo.store import Store, describe_size

CONFIG_FILE = "config.json"
RUN_SUPERNET_FOLDER = "supernet"


def resolve_supernet(name_or_dir: str | os.PathLike[str], *, store: Store | None = None) -> Path:
    """The folder of a supernet named by `--supernet NAME|DIR`; nothing is fetched over the network.

    A zoo name comes first; to name a folder that is called like an entry, write `./NAME`. A folder may
    be a supernet folder or a training run's, which holds its final supernet in `supernet/`.

    Args:
        name_or_dir: Name of an entry, `hf-hub:USER/REPO[@REVISION]` fetched before, or a folder.
        store: Where downloads are kept; default the user's cache.

    Returns:
        A folder with `config.json` and `model.safetensors`.

    Raises:
        StoreError: The entry has to be downloaded first, or can only be linked to.
        UnknownNameError: Neither an entry nor a folder.
        FileFormatError, CheckpointError, MismatchError: A local checkpoint cannot be imported.
    """
    text = os.fspath(name_or_dir)
    store = store or Store()
    if text.startswith(HUB_PREFIX):
        return download_from_hub(text, offline=True)
    entry = _named(text)
    if entry is None:
        return _folder(text)
    found = load_entry(entry.path, entry.origin)
    _refuse_links(found)
    if found.card.availability == "included":
        return found.folder
    local = _imported(found, store)
    if local is not None:
        return local
    checkpoint = found.card.checkpoint
    if store.find(found.name, checkpoint) or store.can_fetch_locally(found.name, checkpoint):
        return download_supernet(text, store=store)
    raise StoreError(
        f"The supernet '{text}' is not on this machine; its file has {describe_size(checkpoint)}.",
        hint=f"`ofa-tk zoo download {text}` gets it from {checkpoint.mirrors[0]}; with a copy of your own, "
        f"set {MIRROR_VARIABLE} to the file or its folder.",
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
    entry = resources.find_entry("zoo", name)
    found = load_entry(entry.path, entry.origin)
    _refuse_links(found)
    if found.card.availability == "included":
        return found.folder
    checkpoint = store.fetch(found.name, found.card.checkpoint)
    identity = identify(checkpoint)
    folder = _import_folder(found, store, checkpoint)
    with store.locked(folder.name):
        if not (folder / CONFIG_FILE).is_file():
            import_checkpoint(found, checkpoint, identity, folder)
    return folder


def _named(text: str) -> Entry | None:
    if os.sep in text or text.startswith("."):
        return None
    return resources.entries("zoo").get(text)


def _folder(text: str) -> Path:
    path = Path(text).expanduser()
    if path.is_dir():
        for folder in (path, path / RUN_SUPERNET_FOLDER):
            if (folder / CONFIG_FILE).is_file():
                return folder
        raise StoreError(
            f"'{text}' is no supernet folder: it has no {CONFIG_FILE}.",
            hint="Name a folder written by `ofa-tk train`, or a zoo name from `ofa-tk zoo list`.",
        )
    if os.sep in text:
        raise StoreError(f"No such folder: '{text}'.")
    raise unknown_name("supernet", text, resources.entries("zoo"))


def _imported(entry: ZooEntry, store: Store) -> Path | None:
    checkpoint = store.find(entry.name, entry.card.checkpoint)
    if checkpoint is None:
        return None
    folder = _import_folder(entry, store, checkpoint)
    return folder if (folder / CONFIG_FILE).is_file() else None


def _import_folder(entry: ZooEntry, store: Store, checkpoint: Path) -> Path:
    """Named by all that goes into it, so that an upgrade never meets an old conversion."""
    content = hashlib.sha256(checkpoint.name.encode())
    for path in sorted(path for path in entry.folder.iterdir() if path.is_file()):
        content.update(path.name.encode() + path.read_bytes())
    return store.folder / "supernets" / f"{entry.name}-{content.hexdigest()[:16]}"


def _refuse_links(entry: ZooEntry) -> None:
    card = entry.card
    if card.availability == "link":
        raise StoreError(
            f"'{card.name}' is only described here ({card.licence.name}): {card.licence.statement}",
            hint=f"See {card.links[0]}",
        )

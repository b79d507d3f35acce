"""From an entry whose checkpoint has to be fetched to a folder with a supernet in it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.errors import StoreError
from ofa_toolkit.zoo.entries import ZooEntry, find_entry, is_hub_name, refuse_link
from ofa_toolkit.zoo.fetching import display
from ofa_toolkit.zoo.hub import download_from_hub
from ofa_toolkit.zoo.identity import identify
from ofa_toolkit.zoo.importing import import_checkpoint
from ofa_toolkit.zoo.store import Store

_SEARCH_AT_HAND = command_line(
    "search", "--supernet", "deps-compact-cifar10", "--device", "jetson-nano", "--latency", "20ms"
)


def supernet_folder(entry: ZooEntry, store: Store | None = None) -> Path:
    """The supernet folder made from an entry's checkpoint, which is fetched where it is not here.

    Args:
        entry: An entry of availability `download`.
        store: Where downloads are kept and how they are made; default the user's cache, with the progress
            shown as `ofa_toolkit.zoo.fetching` has it.

    Raises:
        StoreError: It cannot be had; the hint names a search that needs no network.
        FileFormatError, CheckpointError, MismatchError: The checkpoint cannot be imported.
    """
    with _shown(entry.name, store) as shown:
        try:
            checkpoint = shown.fetch(entry.name, entry.card.checkpoint)
        except StoreError as error:
            at_hand = f"Without a network, search one that is here: {_SEARCH_AT_HAND}"
            raise StoreError(error.message, hint=f"{error.hint} {at_hand}") from error
        return _imported(entry, shown, checkpoint)


def fetch_checkpoint(entry: ZooEntry, store: Store | None = None) -> Path:
    """The checked checkpoint of an entry, fetched where it is not here; see `supernet_folder`."""
    with _shown(entry.name, store) as shown:
        return shown.fetch(entry.name, entry.card.checkpoint)


def download_supernet(name: str, *, store: Store | None = None) -> Path:
    """Fetch a supernet and make it ready; what is here already is only checked.

    Args:
        name: Name of an entry, or `hf-hub:USER/REPO[@REVISION]`.
        store: The cache of downloads, and how they are made.

    Returns:
        A folder with `config.json` and `model.safetensors`.

    Raises:
        StoreError: It cannot be had; see `Store.fetch`.
        UnknownNameError: No such entry.
        CheckpointError, MismatchError: The file is not what its card says.
    """
    store = store or Store()
    if is_hub_name(name):
        return download_from_hub(name, offline=store.offline)
    entry = find_entry(name)
    refuse_link(entry)
    if entry.card.availability == "included":
        return entry.folder
    return _imported(entry, store, store.fetch(entry.name, entry.card.checkpoint))


@contextlib.contextmanager
def _shown(name: str, store: Store | None) -> Iterator[Store]:
    if store is not None:
        yield store
        return
    with display().progress(name) as progress:
        yield Store(progress=progress, notify=display().say)


def _imported(entry: ZooEntry, store: Store, checkpoint: Path) -> Path:
    """Named by all that goes into it, so that an upgrade never meets an old conversion."""
    content = hashlib.sha256(checkpoint.name.encode())
    for path in sorted(path for path in entry.folder.iterdir() if path.is_file()):
        content.update(path.name.encode() + path.read_bytes())
    return store.converted(
        f"{entry.name}-{content.hexdigest()[:16]}",
        lambda folder: import_checkpoint(entry, checkpoint, identify(checkpoint), folder),
    )

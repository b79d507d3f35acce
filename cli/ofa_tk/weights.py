"""Weights that a command needs and that are not here: fetched first, with size and progress on stderr."""

from __future__ import annotations

from pathlib import Path

from ofa_tk import output

_BUNDLED, _LIMIT = "deps-compact-cifar10", ("--device", "jetson-nano", "--latency", "20ms")


def fetch_weights(supernet: str | None, subnet: Path | None = None, *, offline: bool) -> None:
    """Fetch the weights of a zoo entry; nothing happens where they are here, or where no entry is meant.

    Args:
        supernet: As the user named it; None for the supernet that the subnet file states.
        subnet: The subnet file; None for `./subnet.json`.
        offline: Whether the network may not be asked.

    Raises:
        StoreError: They cannot be had; the hint names a supernet that needs no network.
    """
    from ofa_toolkit.core.errors import StoreError
    from ofa_toolkit.pipelines.search.suggestion import search_command
    from ofa_toolkit.zoo.resolving import download_supernet
    from ofa_toolkit.zoo.store import Store, is_offline
    from ofa_toolkit.zoo.supernet import load_supernet

    name = supernet or _stated_supernet(subnet)
    if name is None:
        return  # what is missing is said where it is read
    loaded = load_supernet(name)
    if not loaded.needs_download:
        return
    try:
        if offline or is_offline():
            _ = loaded.folder
        else:
            from ofa_tk.download_progress import download_progress

            with download_progress(name) as progress:
                download_supernet(name, store=Store(progress=progress, notify=output.note))
    except StoreError as error:
        bundled = f"Without a network, search one that is here: {search_command(*_LIMIT, supernet=_BUNDLED)}"
        raise StoreError(error.message, hint=f"{error.hint} {bundled}") from error


def _stated_supernet(subnet: Path | None) -> str | None:
    from ofa_toolkit.pipelines.export.onnx_file import DEFAULT_SUBNET
    from ofa_toolkit.spaces.subnet_file import stated_supernet

    path = subnet or DEFAULT_SUBNET
    return stated_supernet(path) if path.exists() else None

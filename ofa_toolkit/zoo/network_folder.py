"""Folders with one published network (`net.config` and `init`) as supernet folders with a single subnet."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import CheckpointError
from ofa_toolkit.core.output_folder import output_folder
from ofa_toolkit.spaces.official_files import (
    CONFIG_FILE,
    EXTRACTED_FILE,
    RUN_FILE,
    WEIGHTS_FILE,
    Resolution,
    resolution_beside,
)
from ofa_toolkit.spaces.supernet_description import read_description
from ofa_toolkit.zoo.store import Store

_READ = (CONFIG_FILE, WEIGHTS_FILE, RUN_FILE, EXTRACTED_FILE)


def converted_network(folder: Path) -> Path:
    """The supernet folder made from a network's folder, made once and kept in the cache.

    Raises:
        FileFormatError, CheckpointError, MismatchError: The files are damaged or do not belong together.
    """
    content = hashlib.sha256()
    for path in (folder / name for name in _READ if (folder / name).is_file()):
        content.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())

    def write(target: Path) -> None:
        with output_folder(target, "imported network", force=True) as temporary:
            write_network_supernet(folder, temporary)

    return Store().converted(f"network-{content.hexdigest()[:16]}", write)


def weights_beside(folder: Path) -> Path:
    """The file with the weights of a folder's `net.config`.

    Raises:
        CheckpointError: It is missing.
    """
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise CheckpointError(
            f"'{folder}' has a {CONFIG_FILE} without its weights.",
            hint=f"They are expected in '{weights}', as `ofa-tk extract --layout official` writes them.",
        )
    return weights


def write_network_supernet(
    folder: Path, target: Path, *, resolution: int | None = None, further: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """Write the network of a folder as a supernet with a single subnet.

    Args:
        folder: With `net.config` and `init`; `run.config` or `network.json` beside them are read too.
        target: A folder to write into.
        resolution: Input size in pixels, in place of what the files say.
        further: More entries of the description.

    Returns:
        What was assumed, for the user.

    Raises:
        FileFormatError, CheckpointError, MismatchError: The files are damaged or do not belong together.
    """
    from ofa_toolkit.supernets import save_supernet
    from ofa_toolkit.supernets.importing.checkpoint_file import read_weights
    from ofa_toolkit.supernets.importing.single_network import single_network_supernet

    config = read_object(folder / CONFIG_FILE, "a net.config")
    weights = weights_beside(folder)
    stated, source = resolution_beside(folder)
    chosen, notes = Resolution(asked=resolution, stated=stated, source=source).choose(f"'{folder}'", None)
    supernet = single_network_supernet(config, read_weights(weights), chosen)
    extracted = folder / EXTRACTED_FILE
    facts = read_object(extracted, "a description of a network") if extracted.is_file() else {}
    save_supernet(
        target,
        supernet,
        class_names=facts.get("class_names") or (),
        preprocessing=facts.get("preprocessing"),
        further={**(further or {}), "notes": [] if resolution or stated else list(notes)},
    )
    read_description(target)  # what was copied from beside may be of any type
    return notes

"""`config.json` of a supernet's folder: its space, classes and resolutions (no torch)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.space import SearchSpace

FORMAT = "ofa-toolkit/supernet"
VERSION = 1
CONFIG_FILE = "config.json"

_OWN_KEYS = ("format", "version", "space", "space_identity", "num_classes", "resolutions", "supernet")


def read_supernet_config(folder: str | Path) -> dict[str, Any]:
    """The `config.json` of a supernet folder, its format checked; no weights are read.

    Raises:
        FileFormatError: The folder holds none, or it is no description of a supernet.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise FileFormatError(
            f"'{folder}' is no supernet folder: it has no {CONFIG_FILE}.",
            hint="Name a folder written by `ofa-tk train`, or a zoo name from `ofa-tk zoo list`.",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise FileFormatError(f"'{path}' is not valid JSON: {error}.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise FileFormatError(f"'{path}' does not describe a supernet (its format is not '{FORMAT}').")
    if config.get("version") != VERSION:
        raise FileFormatError(
            f"'{path}' has version {config.get('version')!r}; this release reads version {VERSION}."
        )
    missing = [key for key in _OWN_KEYS if key not in config]
    if missing:
        raise FileFormatError(f"'{path}' lacks the entry '{missing[0]}'.")
    return config


def space_of(config: Mapping[str, Any], folder: str | Path) -> SearchSpace:
    """The space of a supernet, with its classes and resolutions.

    Args:
        config: From `read_supernet_config`.
        folder: What to call it in errors.

    Raises:
        UnknownNameError: This release has no such space.
        MismatchError: This release's space of that name is another.
    """
    space = get_space(config["space"]).with_resolutions(tuple(config["resolutions"]))
    space = space.with_num_classes(config["num_classes"])
    if space.identity != config["space_identity"]:
        raise MismatchError(
            f"'{folder}' was made for another '{space.name}' (identity {config['space_identity']}) "
            f"than this release's ({space.identity}).",
            hint="Install the release that made it, or train again.",
        )
    return space

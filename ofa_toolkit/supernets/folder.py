"""A supernet on disk: `config.json` beside `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import CheckpointError, FileFormatError, MismatchError
from ofa_toolkit.spaces import get_space
from ofa_toolkit.supernets.supernet import Supernet

FORMAT = "ofa-toolkit/supernet"
VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_OWN_KEYS = ("format", "version", "space", "space_identity", "num_classes", "resolutions", "supernet")


def save_supernet(
    folder: str | Path,
    supernet: Supernet,
    *,
    config: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and description; each file is replaced whole, the description last.

    Args:
        folder: Made if missing; other files in it are left alone.
        supernet: What to save.
        config: Further entries of `config.json`: `class_names`, `preprocessing`, `recipe`, `metrics`, ...
        dtype: Floating-point type of the stored weights and statistics.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().cpu()
        for name, tensor in supernet.state_dict().items()
    }
    space = supernet.space
    description = {
        "format": FORMAT,
        "version": VERSION,
        "space": space.name,
        "space_identity": space.identity,
        "num_classes": space.num_classes,
        "resolutions": list(space.resolutions),
        "supernet": {
            "use_kernel_transforms": supernet.use_kernel_transforms,
            "dropout": supernet.dropout,
            "bn_momentum": supernet.bn_momentum,
        },
        **(config or {}),
    }
    metadata = {"format": FORMAT, "space": space.name, "space_identity": space.identity}
    files.write_bytes(folder / WEIGHTS_FILE, safetensors.torch.save(tensors, metadata=metadata))
    files.write_json(folder / CONFIG_FILE, description)


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


def load_supernet(folder: str | Path) -> tuple[Supernet, dict[str, Any]]:
    """The supernet of a folder in evaluation mode and float32, and its description.

    Raises:
        FileFormatError: There is no valid description.
        CheckpointError: The weights are missing or damaged.
        MismatchError: Description, weights and this release's search space do not belong together.
    """
    folder = Path(folder)
    config = read_supernet_config(folder)
    space = get_space(config["space"]).with_resolutions(tuple(config["resolutions"]))
    space = space.with_num_classes(config["num_classes"])
    if space.identity != config["space_identity"]:
        raise MismatchError(
            f"'{folder}' was made for another '{space.name}' (identity {config['space_identity']}) "
            f"than this release's ({space.identity}).",
            hint="Install the release that made it, or train again.",
        )
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise CheckpointError(f"'{folder}' has no {WEIGHTS_FILE}.", hint="Copy the folder again.")
    try:
        tensors = safetensors.torch.load_file(weights)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"'{weights}' is damaged or truncated: {error}.") from error
    supernet = Supernet(space, **config["supernet"])
    wanted = supernet.state_dict()
    for name in wanted.keys() ^ tensors.keys():
        where = "lacks" if name in wanted else "holds"
        raise MismatchError(f"'{weights}' {where} '{name}', unlike the space '{space.name}'.")
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise MismatchError(
                f"'{weights}': '{name}' has shape {tuple(tensors[name].shape)}; "
                f"'{space.name}' needs {tuple(tensor.shape)}."
            )
    supernet.load_state_dict({name: tensors[name].to(wanted[name].dtype) for name in wanted})
    return supernet.eval(), config

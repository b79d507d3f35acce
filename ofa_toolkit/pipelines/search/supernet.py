"""The supernet of a search: its folder, its space, and a predictor made for its weights."""

from __future__ import annotations

import os
from pathlib import Path

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import (
    ConfigError,
    FileFormatError,
    MismatchError,
    OfaToolkitError,
    unknown_name,
)
from ofa_toolkit.evaluation.predictor.predictor import FILE_NAME
from ofa_toolkit.pipelines.search.request import SearchRequest
from ofa_toolkit.spaces import SPACES, SearchSpace, get_space
from ofa_toolkit.spaces.containment import is_within
from ofa_toolkit.spaces.space_file import open_space
from ofa_toolkit.spaces.supernet_description import (
    CONFIG_FILE,
    read_supernet_config,
    space_of,
    trained_space_of,
)

DEFAULT_SUPERNET = "ofa-mobilenet-v3-w1.0"


def resolve_space(request: SearchRequest) -> tuple[Path | None, SearchSpace, str]:
    """Folder of the supernet (None without one), the space of its subnets, and its name."""
    name = request.supernet or request.space or DEFAULT_SUPERNET
    entry = None if os.sep in name or name.startswith(".") else resources.entries("zoo").get(name)
    folder: Path | None = None
    if entry is not None:
        folder = entry.path
        space = _space_of_entry(folder)
    elif request.supernet is None:
        space = open_space(name)
        name = space.name
    else:
        folder = _existing_folder(name)
        space = _space_of_folder(folder)
    if request.space is not None and request.supernet is not None:
        space = _part_of(space, open_space(request.space), request.supernet)
    return folder, space, name


def _part_of(trained: SearchSpace, wanted: SearchSpace, supernet: str) -> SearchSpace:
    """What of a supernet to search where a space is named too: a part of it, or it as a whole."""
    if is_within(wanted, trained):
        return wanted.with_num_classes(trained.num_classes)
    if is_within(trained.with_resolutions(wanted.resolutions), wanted):
        return trained
    raise MismatchError(
        f"The supernet '{supernet}' is of space '{trained.name}', not of '{wanted.name}'.",
        hint="Leave out --space: the supernet decides it.",
    )


def _space_of_entry(folder: Path) -> SearchSpace:
    if (folder / CONFIG_FILE).is_file():
        return _space_of_folder(folder)
    from ofa_toolkit.zoo.entries import load_entry

    card = load_entry(folder).card
    if card.space is None:
        raise ConfigError(f"The space of '{card.name}' is not one of ofa-toolkit's; it cannot be searched.")
    return get_space(card.space).with_num_classes(card.data.num_classes)


def _existing_folder(name: str) -> Path:
    is_elsewhere = name.startswith("hf-hub:") or os.sep in name or Path(name).exists()
    if not is_elsewhere:
        if name in SPACES:
            raise ConfigError(f"'{name}' is a search space, not a supernet.", hint=f"--space {name}")
        raise unknown_name("supernet", name, resources.entries("zoo"))
    from ofa_toolkit.zoo import resolve_supernet

    return resolve_supernet(name)


def _space_of_folder(folder: Path) -> SearchSpace:
    return trained_space_of(read_supernet_config(folder), folder)


def supernet_space(folder: Path | None) -> SearchSpace | None:
    """The whole space of a supernet's folder, trained or not; None without one."""
    if folder is None or not (folder / CONFIG_FILE).is_file():
        return None
    return space_of(read_supernet_config(folder), folder)


def predictor_path(request: SearchRequest, folder: Path | None) -> Path | None:
    """The accuracy predictor's file: the one asked for, or the supernet's; None where there is none."""
    if request.predictor is not None:
        return request.predictor
    own = folder / FILE_NAME if folder is not None else None
    return own if own is not None and own.is_file() else None


def missing_predictor(name: str, folder: Path | None) -> OfaToolkitError:
    """The error of a search that needs an accuracy predictor where there is none."""
    otherwise = "or search for the most MACs instead: --maximize macs"
    if folder is None:
        return ConfigError(
            f"There is no accuracy predictor for the space '{name}' without a supernet.",
            hint=f"Name a supernet with --supernet or a predictor file with --predictor, {otherwise}",
        )
    return FileFormatError(
        f"The supernet '{name}' has no accuracy predictor.",
        hint=f"Build one: ofa-tk predictor build --supernet {name} --data DATA, {otherwise}",
    )


def check_weights(identity: str, folder: Path | None) -> None:
    """Refuse a predictor that was made for other weights than the folder's."""
    if folder is None or identity == "unknown":
        return
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return
    from ofa_toolkit.core.weights_identity import weights_identity

    found = weights_identity(weights)
    if found != identity:
        raise MismatchError(
            f"The accuracy predictor was built for other weights ({identity[:12]}) than those in '{folder}' "
            f"({found[:12]}).",
            hint=f"Build it again: ofa-tk predictor build --supernet {folder} --data DATA",
        )

"""`config.json` of a supernet's folder: its whole space, the part that was trained, its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ofa_toolkit.core.config_types import Bounds, convert, field_types
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import ConfigError, FileFormatError, MismatchError
from ofa_toolkit.spaces.containment import is_within
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.space_file import space_document, space_from_document
from ofa_toolkit.spaces.supernet_description_v1 import upgraded

FORMAT = "ofa-toolkit/supernet"
VERSION = 2
CONFIG_FILE = "config.json"

OWN_KEYS = ("format", "version", "space", "space_identity", "trained_space", "supernet")
"""What says which supernet it is; everything else in a description is about it."""

_TABLES = ("space", "trained_space", "recipe")


@dataclass(frozen=True, kw_only=True)
class SupernetSettings:
    """What `Supernet` takes beside its space."""

    use_kernel_transforms: bool = False
    dropout: Annotated[float, Bounds(at_least=0, below=1)] = 0.0
    bn_momentum: Annotated[float, Bounds(above=0, at_most=1)] = 0.1


@dataclass(frozen=True, kw_only=True)
class _Entries:
    """The entries whose types are relied on; others are free."""

    space_identity: str
    supernet: SupernetSettings
    class_names: tuple[str, ...] | None = None
    preprocessing: Mapping[str, float | str | tuple[float, ...]] | None = None


def describe_supernet(
    space: SearchSpace, trained: SearchSpace | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The own keys of a `config.json`.

    Args:
        space: Whose largest subnet the weights are.
        trained: The part of it whose subnets are of use; None for all of it.
        settings: Further arguments of `Supernet`.
    """
    description: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "space": space_document(space),
        "space_identity": space.identity,
    }
    if trained is not None and trained != space:
        description["trained_space"] = space_document(trained)
    return {**description, "supernet": dict(settings)}


def read_supernet_config(folder: str | Path) -> dict[str, Any]:
    """The `config.json` of a supernet folder, its format checked; no weights are read.

    Files of version 1, which only name their space, are brought into today's form.

    Raises:
        FileFormatError: The folder holds none, or it is no description of a supernet.
        UnknownNameError, MismatchError: Version 1, and this release has no such space, or another one.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise FileFormatError(
            f"'{folder}' is no supernet folder: it has no {CONFIG_FILE}.",
            hint="Name a folder written by `ofa-tk train`, or a zoo name from `ofa-tk zoo list`.",
        )
    config = read_object(path, "a description of a supernet")
    if config.get("format") != FORMAT:
        raise FileFormatError(f"'{path}' does not describe a supernet (its format is not '{FORMAT}').")
    if config.get("version") == 1:
        config = upgraded(config, path)
    elif config.get("version") != VERSION:
        raise FileFormatError(
            f"'{path}' has version {config.get('version')!r}; this release reads versions 1 and {VERSION}."
        )
    if "space" not in config:
        raise FileFormatError(f"'{path}' lacks the entry 'space'.")
    for name in _TABLES:
        if not isinstance(config.get(name, {}), dict):
            raise FileFormatError(f"'{path}': {name}: expected a table, got {config[name]!r}.")
    try:
        convert(_Entries, {name: config[name] for name in field_types(_Entries) if name in config}, "")
    except ConfigError as error:
        raise FileFormatError(f"'{path}': {error.message}", hint=error.hint) from error
    return config


def space_of(config: Mapping[str, Any], folder: str | Path) -> SearchSpace:
    """The space of a supernet, with its classes and resolutions.

    Args:
        config: From `read_supernet_config`.
        folder: What to call it in errors.

    Raises:
        ConfigError: The table of the space is damaged; names the dotted path.
        MismatchError: It is not the space the weights were made for.
    """
    space = space_from_document(config["space"], f"'{folder}': space")
    if space.identity != config["space_identity"]:
        raise MismatchError(
            f"'{folder}': the space in {CONFIG_FILE} was changed: its identity is {space.identity}, "
            f"and {config['space_identity']} was written.",
            hint="Copy the folder again; another space needs another supernet.",
        )
    return space


def trained_space_of(config: Mapping[str, Any], folder: str | Path) -> SearchSpace:
    """The part of a supernet's space that was trained; all of it where nothing else is said.

    Raises:
        ConfigError, MismatchError: As `space_of`, or the trained part is no part of the space.
    """
    space = space_of(config, folder)
    if "trained_space" not in config:
        return space
    trained = space_from_document(config["trained_space"], f"'{folder}': trained_space")
    if not is_within(trained, space):
        raise MismatchError(f"'{folder}': trained_space in {CONFIG_FILE} is no part of its space.")
    return trained.with_num_classes(space.num_classes)

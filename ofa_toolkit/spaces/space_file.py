"""A search space as plain values: in a supernet's `config.json`, in a TOML file of the user's, by reference.

A name stands for a space only where this release has the space under it; everything else carries the table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core import toml
from ofa_toolkit.core.config import to_dict
from ofa_toolkit.core.config_types import convert
from ofa_toolkit.core.errors import ConfigError, UnknownNameError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.spaces import SPACES, get_space
from ofa_toolkit.spaces.containment import is_within
from ofa_toolkit.spaces.space import SearchSpace

FORMAT = FileFormat("ofa-toolkit/space", 1, "a space")
SUFFIX = ".toml"

Reference = str | dict[str, Any]
"""The name of a registered space, or the table of another one."""


def space_document(space: SearchSpace) -> dict[str, Any]:
    """All of a space as plain JSON values; `space_from_document` gives back an equal one."""
    return to_dict(space)


def space_from_document(document: Any, where: str) -> SearchSpace:
    """The space that plain values describe.

    Args:
        document: From `space_document`, or a parsed TOML file.
        where: Dotted path of the values, for messages; empty for a file of its own.

    Raises:
        ConfigError: A key is unknown or missing, or a value cannot be built; names its dotted path.
    """
    space = convert(SearchSpace, document, where)
    assert isinstance(space, SearchSpace)
    if not space.resolutions:
        raise ConfigError(f"{where}{'.' if where else ''}resolutions: at least one value is needed.")
    return space


def dumps_space(space: SearchSpace) -> str:
    """A space as a TOML file, which `read_space` reads."""
    return toml.dumps({**FORMAT.header, **space_document(space)})


def read_space(path: str | os.PathLike[str]) -> SearchSpace:
    """The space in a TOML file.

    Raises:
        FileFormatError: The file cannot be read, is not TOML, or of another format or version.
        ConfigError: A value is bad; names its dotted path.
    """
    document = FORMAT.header | toml.load(path)
    FORMAT.check(document, f"'{path}'")
    document = FORMAT.body(document)
    try:
        return space_from_document(document, "")
    except ConfigError as error:
        raise ConfigError(f"'{path}': {error.message}", hint=error.hint) from error


def open_space(name_or_path: str | os.PathLike[str]) -> SearchSpace:
    """What a user means by `--space NAME|FILE.toml`; the folder of a supernet or run gives that one's space.

    Raises:
        UnknownNameError: It is no registered name, and no path either.
        FileFormatError, ConfigError: The file or folder describes no space.
    """
    text = os.fspath(name_or_path)
    path = Path(text).expanduser()
    if text not in SPACES and path.is_dir():
        from ofa_toolkit.spaces.supernet_description import CONFIG_FILE, read_description

        return read_description(path if (path / CONFIG_FILE).is_file() else path / "supernet").space
    return read_space(path) if names_a_file(text) else get_space(text)


def names_a_file(name_or_path: str) -> bool:
    """Whether what a user wrote for a space is a path, not a name."""
    return name_or_path.endswith(SUFFIX) or os.sep in name_or_path


def typed_space(space: SearchSpace) -> str:
    """What a user types for it behind `--space`: its name, or that of a file where no name stands for it."""
    return space.name if isinstance(space_reference(space), str) else "FILE.toml"


def is_misnamed(space: SearchSpace) -> bool:
    """Whether this release has a space of that name with other subnets."""
    return space.name in SPACES and not isinstance(space_reference(space), str)


def space_reference(space: SearchSpace) -> Reference:
    """How a file names the space of its subnets: by name where that says it all, else by its table."""
    known = _known(space)
    return space_document(space) if known is None or not is_within(space, known) else space.name


def exact_reference(space: SearchSpace, *, with_resolutions: bool = True) -> Reference:
    """As `space_reference`, for files that state the space's identity: by name only where it is the same.

    Args:
        space: The space.
        with_resolutions: False where the file states the input sizes besides.
    """
    known = _known(space)
    if known is not None and not with_resolutions:
        known = known.with_resolutions(space.resolutions)
    return space_document(space) if known is None or known.identity != space.identity else space.name


def _known(space: SearchSpace) -> SearchSpace | None:
    """The space that goes by this one's name in this release, where it has all of its single resolutions."""
    try:
        known = get_space(space.name)
    except (UnknownNameError, ConfigError):
        return None
    return known if set(space.single_resolutions) <= set(known.single_resolutions) else None


def space_from_reference(reference: Any) -> SearchSpace:
    """Undo `space_reference` and `exact_reference`; a registered name gives the whole space of that name.

    Raises:
        UnknownNameError: This release has no space of that name.
        ConfigError: It is neither a name nor the table of a space.
    """
    if isinstance(reference, Mapping):
        return space_from_document(reference, "space")
    if not isinstance(reference, str):
        raise ConfigError(f"space: {reference!r} is neither the name of a search space nor its table.")
    return get_space(reference)

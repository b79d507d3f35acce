"""Where files lie: the data that ships with the package, and the user's own folders.

This is the only module that knows the layouts. In a wheel the data folders are
`ofa_toolkit/_data/<kind>`; in a checkout (editable installation) they stand beside the package.

The user's folders follow the XDG base directories and may be moved by environment variables:
`OFA_TK_CACHE` (default `~/.cache/ofa-toolkit`) and `OFA_TK_DATA` (default `~/.local/share/ofa-toolkit`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import platformdirs

from ofa_toolkit.core.errors import OfaToolkitError, unknown_name

Kind = Literal["zoo", "latency_tables", "configs"]
"""The data folders: an entry of `zoo` and `latency_tables` is a folder, one of `configs` a TOML file."""

Origin = Literal["given", "user", "bundled"]

KINDS: tuple[Kind, ...] = get_args(Kind)

_APPLICATION = "ofa-toolkit"
_DESCRIBING_FILE: Mapping[Kind, str] = {"zoo": "card.toml", "latency_tables": "device.toml"}
_ENTRY_NAME: Mapping[Kind, str] = {"zoo": "zoo entry", "latency_tables": "device", "configs": "recipe"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One named thing in a data folder.

    Attributes:
        name: Name of the entry.
        path: The most important file or folder of that name.
        origin: Kind of folder that it lies in.
        below: Those of the same name that come after it.
    """

    name: str
    path: Path
    origin: Origin
    below: tuple[Path, ...] = ()


def data_path(kind: Kind) -> Path:
    """The folder of data that ships with the package.

    Raises:
        OfaToolkitError: The installation is incomplete.
    """
    if kind not in KINDS:
        raise unknown_name("data folder", kind, KINDS)
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_data" / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise OfaToolkitError(
        f"The installation is incomplete: the data folder '{kind}' is missing.",
        hint="Reinstall with: pip install --force-reinstall --no-deps ofa-toolkit",
    )


def cache_path() -> Path:
    """The folder for what can be fetched or computed again: `$OFA_TK_CACHE` or `~/.cache/ofa-toolkit`."""
    return _user_folder("OFA_TK_CACHE", platformdirs.user_cache_path(_APPLICATION))


def own_cache_path() -> Path:
    """The user's own such folder, for when `$OFA_TK_CACHE` names a shared one that only others can write."""
    return platformdirs.user_cache_path(_APPLICATION)


def user_data_path(kind: Kind | None = None) -> Path:
    """The user's own data, or one kind of it: `$OFA_TK_DATA` or `~/.local/share/ofa-toolkit`."""
    folder = _user_folder("OFA_TK_DATA", platformdirs.user_data_path(_APPLICATION))
    return folder / kind if kind else folder


def entries(kind: Kind, extra: Iterable[str | os.PathLike[str]] = ()) -> dict[str, Entry]:
    """All entries of a kind by name, sorted.

    Where names collide, a folder given by the user comes before the user's data folder, and that before
    the bundled data; `Entry.origin` says which it is.

    Args:
        kind: Kind of data folder.
        extra: Further folders to look into, the most important first.

    Raises:
        OfaToolkitError: A folder in `extra` does not exist.
    """
    folders: list[tuple[Path, Origin]] = [(Path(folder), "given") for folder in extra]
    for folder, _ in folders:
        if not folder.is_dir():
            raise OfaToolkitError(f"No such folder: '{folder}'.")
    folders += [(user_data_path(kind), "user"), (data_path(kind), "bundled")]
    found: dict[str, Entry] = {}
    for folder, origin in folders:
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            name = _entry_name(kind, path)
            if name is None:
                continue
            if name in found:
                found[name] = dataclasses.replace(found[name], below=(*found[name].below, path))
            else:
                found[name] = Entry(name=name, path=path, origin=origin)
    return dict(sorted(found.items()))


def find_entry(kind: Kind, name: str, extra: Iterable[str | os.PathLike[str]] = ()) -> Entry:
    """The entry of that name.

    Raises:
        UnknownNameError: There is none; names the nearest.
    """
    found = entries(kind, extra)
    if name not in found:
        raise unknown_name(_ENTRY_NAME[kind], name, found)
    return found[name]


def _entry_name(kind: Kind, path: Path) -> str | None:
    describing_file = _DESCRIBING_FILE.get(kind)
    if describing_file is None:
        return path.stem if path.suffix == ".toml" and path.is_file() else None
    # Hidden ones are being written, or were when their writer died.
    is_entry = not path.name.startswith(".") and (path / describing_file).is_file()
    return path.name if is_entry else None


def _user_folder(variable: str, default: Path) -> Path:
    # An empty variable counts as unset, as the XDG specification has it.
    given = os.environ.get(variable)
    return Path(given).expanduser() if given else default

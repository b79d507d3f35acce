"""Places on this machine as files name them that may leave it: never by an absolute path."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ABSOLUTE = re.compile(r"((?:[a-z][\w-]*:)?)(/.*)", re.DOTALL)
"""A path, or a source of images such as `imagefolder:DIR`."""


def portable(text: str) -> str:
    """A path or a source of images without its absolute path.

    Relative to the working folder, or to `~` where it lies below that, so that it still leads there on this
    machine; where that would tell a user's name, its last name alone. Other texts stay what they are.
    """
    found = _ABSOLUTE.fullmatch(text)
    if found is None:
        return text
    relative = _relative(found[2])
    return found[1] + (relative or os.path.basename(os.path.normpath(found[2])))


def portable_document(value: Any) -> Any:
    """A document of plain values with `portable` applied to every text in it."""
    if isinstance(value, str):
        return portable(value)
    if isinstance(value, Mapping):
        return {key: portable_document(item) for key, item in value.items()}
    return [portable_document(item) for item in value] if isinstance(value, (list, tuple)) else value


def leads_back(text: str) -> bool:
    """Whether `portable(text)` names the same place on this machine."""
    found = _ABSOLUTE.fullmatch(text)
    return found is None or _relative(found[2]) is not None


def _relative(path: str) -> str | None:
    given, here, home = (Path(os.path.normpath(each)) for each in (path, Path.cwd(), os.path.expanduser("~")))
    root = Path(given.anchor)
    if here != root and given.is_relative_to(here):
        return given.relative_to(here).as_posix()
    if home != root and given.is_relative_to(home):
        return f"~/{given.relative_to(home).as_posix()}"
    shared = Path(os.path.commonpath([given, here]))
    # From the root or from beside the user's own folder the way would lead through somebody's name.
    return (
        None
        if shared == root or home.is_relative_to(shared)
        else Path(os.path.relpath(given, here)).as_posix()
    )

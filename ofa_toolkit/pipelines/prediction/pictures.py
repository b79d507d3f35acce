"""Which picture files a user means: files, folders and patterns."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.datasets.dataset import LeftOut
from ofa_toolkit.datasets.folders import list_photos


def find_pictures(named: Iterable[str | os.PathLike[str]]) -> tuple[list[Path], list[LeftOut]]:
    """The picture files behind names, in the order named, each once.

    A folder stands for all photos below it, as in training; what is hidden or no photo is left out. A name
    that is no file is a pattern, with `**` for any depth; quotes keep a shell from expanding it.

    Returns:
        The files, and what lies in the folders and is not read.

    Raises:
        DataError: Nothing is named, there is no such file, or a folder or pattern holds no picture.
    """
    left_out: list[LeftOut] = []
    found: dict[Path, None] = {}
    for text in [os.fspath(name) for name in named]:
        for path in _expanded(text):
            inside = list_photos(path, left_out) if path.is_dir() else [path]
            if path.is_dir() and str(path) == text and not inside:
                raise DataError(f"The folder '{text}' holds no pictures.", hint=_left_out_hint(left_out))
            found.update(dict.fromkeys(inside))
    if not found:
        raise DataError("No pictures are named.", hint="Name files, folders, or patterns: 'photos/*.jpg'")
    return list(found), left_out


def _expanded(text: str) -> Sequence[Path]:
    """The path itself, or what a pattern matches."""
    if os.path.lexists(text):
        return [Path(text)]
    matches = sorted(glob.glob(text, recursive=True))
    if matches:
        return [Path(match) for match in matches]
    if glob.has_magic(text):
        raise DataError(f"No picture matches '{text}'.")
    folder = Path(text).parent
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    close = difflib.get_close_matches(Path(text).name, names, n=1)
    hint = f"Did you mean '{folder / close[0]}'?" if close else f"The present folder is '{Path.cwd()}'."
    raise DataError(f"No such picture: '{text}'.", hint=hint)


def _left_out_hint(left_out: Sequence[LeftOut]) -> str | None:
    return f"Not read: '{left_out[0].path.name}' ({left_out[0].reason})." if left_out else None

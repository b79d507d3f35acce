"""Where a file may be had: the user's mirrors first, then those the card lists.

`OFA_TK_MIRROR` holds one or more places separated by commas. Each is a file, a folder, a `file://` or an
`http(s)://` address. A folder or address is searched for `<entry>/<path>`, then for the bare file name.
The identity decides whether what is found is right, so a wrong file in a mirror does no harm.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ofa_toolkit.core.errors import StoreError
from ofa_toolkit.zoo.card import FileFacts

MIRROR_VARIABLE = "OFA_TK_MIRROR"

_REMOTE = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place to read a file from; exactly one of the two is set."""

    url: str | None = None
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether no network is needed."""
        return self.path is not None

    def __str__(self) -> str:
        return str(self.path) if self.url is None else without_credentials(self.url)


def find_sources(
    entry: str, file: FileFacts, mirrors: Sequence[str] | None = None, *, offline: bool = False
) -> tuple[Source, ...]:
    """Every place that may have the file, the best first, without asking any of them.

    Args:
        entry: Name of the entry.
        file: The file as its card describes it.
        mirrors: The user's mirrors; default those in `OFA_TK_MIRROR`.
        offline: Leave out what needs the network.

    Raises:
        StoreError: A local mirror the user named does not exist.
    """
    found: list[Source] = []
    for mirror in user_mirrors() if mirrors is None else mirrors:
        found += _in_mirror(mirror, entry, file)
    for address in file.mirrors:
        local = _local_path(address)
        found.append(Source(path=local) if local is not None else Source(url=address))
    unique = dict.fromkeys(found)
    return tuple(source for source in unique if source.is_local or not offline)


def user_mirrors() -> tuple[str, ...]:
    """The places in `OFA_TK_MIRROR`."""
    return tuple(part.strip() for part in os.environ.get(MIRROR_VARIABLE, "").split(",") if part.strip())


def without_credentials(url: str) -> str:
    """The address as it may be shown: without user, password and query."""
    # Not by `urlsplit`, which refuses what is malformed.
    return re.sub(r"//[^/?#]*@", "//", url).partition("?")[0].partition("#")[0]


def _in_mirror(mirror: str, entry: str, file: FileFacts) -> Iterator[Source]:
    if _REMOTE.match(mirror):
        base = mirror.rstrip("/")
        yield Source(url=f"{base}/{quote(entry)}/{quote(file.path)}")
        yield Source(url=f"{base}/{quote(file.name)}")
        return
    place = _local_path(mirror)
    if place is None:
        raise StoreError(
            f"'{mirror}' in {MIRROR_VARIABLE} is neither a path nor a file:// or http(s):// address."
        )
    if not place.exists():
        raise StoreError(
            f"The mirror '{mirror}' does not exist.", hint=f"Correct or unset {MIRROR_VARIABLE}."
        )
    candidates = [place / entry / file.path, place / file.name] if place.is_dir() else [place]
    yield from (Source(path=path) for path in candidates if path.is_file())


def _local_path(text: str) -> Path | None:
    """The path of a `file://` address or a plain path; None for other addresses."""
    if text.lower().startswith("file:"):
        return Path(unquote(urlsplit(text).path))
    return None if "://" in text else Path(text).expanduser()

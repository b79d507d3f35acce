"""Telling whether a file is the one that was meant: size, SHA-256 and git's blob identity."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.zoo.card import FileFacts

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What is known of a file's content; at least one hash."""

    size: int | None = None
    sha256: str | None = None
    git_blob_sha1: str | None = None

    def __post_init__(self) -> None:
        assert self.sha256 or self.git_blob_sha1

    @classmethod
    def of_card(cls, file: FileFacts) -> Identity:
        """The identity a card states; the card must state one."""
        return cls(size=file.size, sha256=file.sha256, git_blob_sha1=file.git_blob_sha1)

    @property
    def key(self) -> str:
        """A file name that stands for the content."""
        return f"sha256-{self.sha256}" if self.sha256 else f"git-{self.git_blob_sha1}"

    def mismatch(self, path: Path) -> str | None:
        """What is wrong with the file at `path`, or None when it is the one that is meant.

        Everything that is known is compared, so that a collision of SHA-1 alone does not pass where
        SHA-256 is known too.
        """
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size} bytes instead of {self.size}"
        found = identify(path)
        if self.sha256 is not None and found.sha256 != self.sha256:
            return f"its SHA-256 is {found.sha256} instead of {self.sha256}"
        if self.git_blob_sha1 is not None and found.git_blob_sha1 != self.git_blob_sha1:
            return f"its git identity is {found.git_blob_sha1} instead of {self.git_blob_sha1}"
        return None


def identify(path: str | os.PathLike[str]) -> Identity:
    """Read a file once and work out everything it can be recognised by."""
    size = os.stat(path).st_size
    sha256 = hashlib.sha256()
    # Git's identity is SHA-1 by definition; it is compared beside SHA-256 wherever both are known.
    blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for chunk in _chunks(path):
        sha256.update(chunk)
        blob.update(chunk)
    return Identity(size=size, sha256=sha256.hexdigest(), git_blob_sha1=blob.hexdigest())


def _chunks(path: str | os.PathLike[str]) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk

"""A content-addressed cache of zoo files: what lies in it is whole and is what it says, or is not there.

    <cache>/zoo/blobs/<key>        complete, checked files; the key is their identity
    <cache>/zoo/partial/<key>      transfers under way or broken off, continued later
    <cache>/zoo/locks/<key>.lock   one process at a time works on a key
    <cache>/zoo/supernets/<name>   supernet folders made from such files
    <cache>/zoo/accepted/<key>.json  identities of files whose cards state none, as first accepted

A file enters `blobs` by a rename after its identity was checked; it is checked again each time it is
handed out, so a damaged disk is noticed. A process that dies loses its lock and leaves a partial file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from ofa_toolkit.core import files, quantities, resources
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import FileFormatError, StoreError
from ofa_toolkit.spaces.supernet_description import CONFIG_FILE
from ofa_toolkit.zoo.card import FileFacts
from ofa_toolkit.zoo.fetching import is_offline
from ofa_toolkit.zoo.identity import Identity, identify
from ofa_toolkit.zoo.sources import MIRROR_VARIABLE, Source, find_sources
from ofa_toolkit.zoo.transfer import (
    LARGEST_FILE,
    Progress,
    SourceError,
    TransferPolicy,
    copy_local,
    fetch_url,
)


def _silent(_: int, __: int | None) -> None:
    pass


def _quiet(_: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Store:
    """The cache and how it is filled.

    Args:
        root: Folder of the store; default `zoo` in the cache folder.
        offline: Use what is here and local mirrors only.
        mirrors: The user's mirrors; default those in `OFA_TK_MIRROR`.
        policy: Timeouts and retries.
        accept_unknown: Take a file whose card states no identity, and remember what it was.
        progress: Told the bytes there and the bytes in all.
        notify: Told in one line about what the user should know: waiting, a damaged file, a failed mirror.
    """

    root: Path | None = None
    offline: bool = False
    mirrors: Sequence[str] | None = None
    policy: TransferPolicy = field(default_factory=TransferPolicy)
    accept_unknown: bool = False
    progress: Progress = _silent
    notify: Callable[[str], None] = _quiet

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return resources.cache_path() / "zoo" if self.root is None else self.root

    def find(self, entry: str, file: FileFacts) -> Path | None:
        """The checked file when the cache holds it; asks nobody else.

        A file that is damaged counts as not there; `fetch` replaces it.
        """
        identity = self._identity(entry, file)
        blob = self.folder / "blobs" / _key(entry, file, identity)
        if identity is None or not blob.is_file() or identity.mismatch(blob) is not None:
            return None
        return blob

    def holds(self, entry: str, file: FileFacts) -> bool:
        """Whether the cache has something under the file's identity, damaged or not."""
        return (self.folder / "blobs" / _key(entry, file, self._identity(entry, file))).is_file()

    def fetch(self, entry: str, file: FileFacts) -> Path:
        """The checked file, from the cache or from the first source that has it.

        Args:
            entry: Name of the entry it belongs to.
            file: The file as its card describes it.

        Returns:
            A read-only file in the cache; do not change it.

        Raises:
            StoreError: No source delivers the right bytes, the network is needed and not allowed, the
                identity is unknown and not accepted, or the cache cannot be written.
        """
        identity = self._identity(entry, file)
        if identity is None and not self.accept_unknown:
            raise StoreError(
                f"No identity is published for '{file.path}' of '{entry}': nobody can tell whether the bytes "
                "that arrive are the right ones.",
                hint="--accept-unknown takes what the mirror sends and holds later downloads to it.",
            )
        key = _key(entry, file, identity)
        blob = self.folder / "blobs" / key
        found = self.find(entry, file)
        if found is not None:
            return found  # before any lock: a shared cache may be another user's
        with self.locked(key):
            if blob.is_file():
                problem = None if identity is None else identity.mismatch(blob)
                if problem is None:
                    return blob
                self.notify(
                    f"The cached '{file.path}' of '{entry}' is damaged ({problem}); fetching it again."
                )
                blob.unlink()
            partial = self.folder / "partial" / key
            self._fill(entry, file, identity, partial)
            if identity is None:
                identity = self._accept(entry, file, partial)
                blob = self.folder / "blobs" / identity.key
            self._publish(partial, blob)
        return blob

    def _fill(self, entry: str, file: FileFacts, identity: Identity | None, partial: Path) -> None:
        """Make `partial` complete and right from the first source that can."""
        sources = find_sources(entry, file, self.mirrors, offline=self.offline or is_offline())
        if not sources:
            raise _nothing_to_ask(entry, file)
        problems: list[str] = []
        for source in sources:
            problem = self._try(source, file, identity, partial)
            if problem is None:
                for failed in problems:
                    self.notify(failed)
                return
            problems.append(f"{source}: {problem}")
        if all("PySocks" in problem for problem in problems):
            raise StoreError(
                f"Cannot get '{file.path}' of '{entry}': {problems[0]}.", hint="pip install pysocks"
            )
        is_local = self.offline or is_offline()
        copy = f"set {MIRROR_VARIABLE} to a right copy or its folder."
        raise StoreError(
            f"Cannot get '{file.path}' ({describe_size(file)}) of '{entry}': {'; '.join(problems)}.",
            hint=f"Leave out --offline, or {copy}" if is_local else f"Try later, or {copy}",
        )

    def _try(self, source: Source, file: FileFacts, identity: Identity | None, partial: Path) -> str | None:
        """What is wrong with a source; None when `partial` is complete and right.

        The beginning may come from an earlier run or another source. If the whole is wrong then, the
        source gets a second chance from the first byte.
        """
        problem: str | None = None
        while True:
            is_continued = partial.exists() and partial.stat().st_size > 0
            try:
                self._transfer(source, file, identity, partial)
            except SourceError as error:
                return str(error)
            problem = None if identity is None else identity.mismatch(partial)
            if problem is None:
                return None
            partial.unlink()
            if not is_continued:
                return f"what it serves is another file: {problem}"

    def _transfer(self, source: Source, file: FileFacts, identity: Identity | None, partial: Path) -> None:
        if source.path is not None:
            copy_local(source.path, partial, self.progress)
            return
        assert source.url is not None
        size = None if identity is None else identity.size
        fetch_url(
            source.url,
            partial,
            size=size,
            limit=2 * file.approximate_size if file.approximate_size else LARGEST_FILE,
            policy=self.policy,
            progress=self.progress,
            notify=lambda text: self.notify(f"{source}: {text}"),
        )

    def _identity(self, entry: str, file: FileFacts) -> Identity | None:
        """What the card states, else what was accepted before."""
        if file.has_identity:
            return Identity.of_card(file)
        accepted = self._accepted_path(entry, file)
        if not accepted.is_file():
            return None
        stored = read_object(accepted, "an accepted identity")
        if not isinstance(stored.get("size"), int) or not isinstance(stored.get("sha256"), str):
            raise FileFormatError(f"'{accepted}' is damaged.", hint="Remove it.")
        return Identity(size=stored["size"], sha256=stored["sha256"])

    def _accept(self, entry: str, file: FileFacts, partial: Path) -> Identity:
        found = identify(partial)
        path = self._accepted_path(entry, file)
        files.write_json(
            path, {"entry": entry, "path": file.path, "size": found.size, "sha256": found.sha256}
        )
        self.notify(f"Accepted '{file.path}' of '{entry}' as first seen: SHA-256 {found.sha256}.")
        return found

    def _accepted_path(self, entry: str, file: FileFacts) -> Path:
        return self.folder / "accepted" / f"{_unknown_key(entry, file)}.json"

    def _publish(self, partial: Path, blob: Path) -> None:
        with _explained(self.folder):
            partial.chmod(0o444)
            os.replace(partial, blob)

    def converted(self, name: str, write: Callable[[Path], None]) -> Path:
        """A supernet folder, made once: in the cache, or in the user's own where that cannot be written.

        Args:
            name: Stands for all that goes into it.
            write: Writes the folder it is given, whole or not at all.

        Raises:
            StoreError: Neither can be written.
        """
        own = resources.own_cache_path() / "zoo"
        folders = [root / "supernets" / name for root in (self.folder, own)]
        for folder in folders:
            if (folder / CONFIG_FILE).is_file():
                return folder
        store = self if _can_write(folders[0].parent) else dataclasses.replace(self, root=own)
        folder = store.folder / "supernets" / name
        with store.locked(name):
            if not (folder / CONFIG_FILE).is_file():
                write(folder)
        return folder

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold the lock of a key; the operating system frees it when the process dies."""
        with _explained(self.folder):
            for name in ("blobs", "partial", "locks"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / "locks" / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                self.notify("Another process is fetching the same file; waiting for it.")
                lock.acquire()
        try:
            yield
        finally:
            lock.release()


def describe_size(file: FileFacts) -> str:
    """The file's size for a message, with how sure it is."""
    if file.size is not None:
        return quantities.MEMORY.format(file.size)
    if file.approximate_size is not None:
        return f"about {quantities.MEMORY.format(file.approximate_size, 2)}"
    return "size unknown"


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _nothing_to_ask(entry: str, file: FileFacts) -> StoreError:
    where = file.mirrors[0] if file.mirrors else "nowhere"
    return StoreError(
        f"'{entry}' is not on this machine, and the network is not allowed; its file '{file.path}' has "
        f"{describe_size(file)}.",
        hint=f"Without --offline it comes from {where}; or set {MIRROR_VARIABLE} to a copy or its folder.",
    )


def _key(entry: str, file: FileFacts, identity: Identity | None) -> str:
    return _unknown_key(entry, file) if identity is None else identity.key


def _unknown_key(entry: str, file: FileFacts) -> str:
    return "unknown-" + hashlib.sha256(f"{entry}/{file.path}".encode()).hexdigest()[:32]


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"Cannot write to the cache '{folder}': {error.strerror or error}.",
            hint="Set OFA_TK_CACHE to a folder you can write to.",
        ) from error

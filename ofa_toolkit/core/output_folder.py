"""Folders of output: new, empty, or written by us before; whatever else lies in one is never touched.

A manifest in the folder names the files we wrote, with their SHA-256. Only what it names is ever replaced or
removed, with `--force` too. A new folder appears whole, by one rename. In a folder that exists already, the
manifest is first widened to the old and the new files, then one file after the other is renamed into place:
a process killed in between leaves each file whole, old or new, and the next one recognises all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import FileFormatError, OutputError
from ofa_toolkit.core.file_format import FileFormat

MANIFEST = ".ofa-toolkit.json"
FORMAT = FileFormat(f"{files.FORMAT_PREFIX}output-folder", 1, "a manifest of an output folder")
MARKS = frozenset({MANIFEST, "run.toml", "run.lock", "study.toml"})
"""Files by which folders of ours are known: of output, training runs and studies."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What we wrote into a folder.

    Attributes:
        kind: Name of the files as a whole, such as `network`.
        files: Each file's relative path, and the SHA-256 it may have: one, or two while it is exchanged.
        is_complete: False from the first file of an exchange to the last.
    """

    kind: str
    files: Mapping[str, Collection[str]]
    is_complete: bool


@contextlib.contextmanager
def output_folder(
    path: str | os.PathLike[str], kind: str, *, replace: bool = False, force: bool = False
) -> Iterator[Path]:
    """Yield a new empty folder to fill; on success its files are those of `path`.

    Args:
        path: New, empty, or an output folder of ours. Foreign files in it stay.
        kind: Kind of output, such as `network`.
        replace: Also where a former output of this kind lies, unless it was changed since.
        force: Also where any former output of ours lies, changed or not.

    Raises:
        OutputError: `path` may not be written to (see `check_output_folder`), or a foreign file is
            in the way.
    """
    check_output_folder(path, kind, replace=replace, force=force)
    target = files.real_target(path)
    is_new = not target.exists()
    # Inside a folder that exists: the one above may belong to somebody else.
    staging = files.temporary_sibling(target if is_new else target / "output")
    with files.explained(path):
        staging.mkdir()
    try:
        yield staging
        with files.explained(path):
            written = _hash_all(staging)
            if is_new:
                _write_manifest(staging, Manifest(kind=kind, files=written, is_complete=True))
                os.rename(staging, target)
            else:
                check_output_folder(path, kind, replace=replace, force=force)
                _exchange(staging, target, kind, written)
            files.sync(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_output_folder(
    path: str | os.PathLike[str], kind: str, *, replace: bool = False, force: bool = False
) -> None:
    """Refuse a folder that `output_folder` would refuse; call it before the work starts.

    A folder in which a killed process left an exchange unfinished needs neither `replace` nor `force`.

    Raises:
        OutputError: `path` is no folder, holds files and no manifest of ours, or holds an output that may not
            be replaced.
    """
    target = Path(path)
    files.check_parents(target)
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise OutputError(f"'{path}' is not a folder.", hint="Name another path.")
    manifest = read_manifest(target)
    if manifest is None:
        if not all(files.is_temporary(entry) for entry in target.iterdir()):
            raise OutputError(
                f"'{path}' holds files, but no {MANIFEST} with those that ofa-toolkit wrote; nothing in "
                "it is replaced, not even with --force.",
                hint=f"Name a new or an empty folder, such as '{_free_name(target, kind)}'.",
            )
        return
    if force:
        return
    if manifest.kind != kind or (manifest.is_complete and not replace):
        raise OutputError(
            f"'{path}' exists already and holds a {manifest.kind}; it would be replaced.",
            hint="Name another folder, or add --force.",
        )
    for name, hashes in manifest.files.items():
        if os.path.lexists(target / name) and not _is_as_written(target / name, hashes):
            raise OutputError(
                f"'{target / name}' was changed since it was written; it would be replaced.",
                hint="Name another folder, or add --force.",
            )


def is_output(folder: Path) -> bool:
    """Whether a folder is an output, run or study of ours, or holds such folders and nothing else."""
    if any((folder / name).is_file() for name in MARKS):
        return True
    num_folders = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir(follow_symlinks=False) or not is_output(Path(entry.path)):
                return False
            num_folders += 1
    return num_folders > 0


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where there is none, or none that can be trusted."""
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
        FORMAT.check(document, MANIFEST)
        named = {str(name): [str(value) for value in hashes] for name, hashes in document["files"].items()}
        if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in named):
            return None
        return Manifest(kind=str(document["kind"]), files=named, is_complete=document["is_complete"] is True)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, FileFormatError):
        return None


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    files.write_json(
        folder / MANIFEST,
        {
            **FORMAT.header,
            "kind": manifest.kind,
            "is_complete": manifest.is_complete,
            "files": {name: sorted(hashes) for name, hashes in sorted(manifest.files.items())},
        },
    )


def _hash_all(staging: Path) -> dict[str, set[str]]:
    """Every file's hash by its relative path; all of them are on disk then."""
    written = {}
    for path in sorted(staging.rglob("*")):
        files.sync(path)
        name = path.relative_to(staging).as_posix()
        if path.is_file() and name != MANIFEST:
            written[name] = {files.sha256(path)}
    return written


def _exchange(staging: Path, target: Path, kind: str, written: Mapping[str, Collection[str]]) -> None:
    former = read_manifest(target)
    owned = {} if former is None else former.files
    # A foreign file with the very same content may stay, and stays foreign.
    written = {
        name: hashes
        for name, hashes in written.items()
        if name in owned or not _is_as_written(target / name, hashes)
    }
    for name in written:
        _refuse_foreign(target, name, owned)
    both = {name: {*owned.get(name, ()), *written.get(name, ())} for name in {*owned, *written}}
    _write_manifest(target, Manifest(kind=kind, files=both, is_complete=False))
    for name in written:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, target / name)
    for name in owned.keys() - written.keys():
        # One that was changed has become the user's.
        if _is_as_written(target / name, owned[name]):
            (target / name).unlink()
        _remove_empty_parents(target, name)
    for folder in {(target / name).parent for name in written}:
        files.sync(folder)
    _write_manifest(target, Manifest(kind=kind, files=written, is_complete=True))


def _refuse_foreign(target: Path, name: str, owned: Collection[str]) -> None:
    place = target / name
    above = [target / parent for parent in PurePosixPath(name).parents]
    blocking = next((path for path in above if os.path.lexists(path) and not path.is_dir()), None)
    if blocking is None and os.path.lexists(place) and (name not in owned or place.is_dir()):
        blocking = place
    if blocking is not None:
        raise OutputError(
            f"'{blocking}' is in the way and was not written by ofa-toolkit; nothing was replaced.",
            hint="Move it away, or name another folder.",
        )


def _remove_empty_parents(target: Path, name: str) -> None:
    for parent in PurePosixPath(name).parents[:-1]:
        with contextlib.suppress(OSError):
            (target / parent).rmdir()


def _is_as_written(path: Path, hashes: Collection[str]) -> bool:
    return path.is_file() and files.sha256(path) in hashes


def _free_name(target: Path, kind: str) -> Path:
    """A folder that does not exist: beside the target, or in it where it is the current one."""
    return files.free_path(target if target.name not in ("", "..") else target / kind.rpartition(" ")[2])

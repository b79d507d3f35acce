"""Writing files so that a reader sees the old content or the new one, never half of it.

Everything is written under a hidden name in the destination's own folder, flushed to disk, and renamed.
When anything fails the hidden file is removed and the destination is as it was; what a killed process left
is removed by the next one that writes to the same place. Whole folders: `core.output_folder`.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ofa_toolkit.core import toml
from ofa_toolkit.core.documents import read_json
from ofa_toolkit.core.errors import FileFormatError, OutputError

FORMAT_PREFIX = "ofa-toolkit/"
"""The start of the `format` tag in every file of ours."""

_LARGEST_TAGGED_FILE = 64 * 2**20

# Process numbers mean something on one machine only, and folders are shared between machines.
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.(?P<host>[0-9a-f]{6})-(?P<pid>\d+)-[0-9a-f]{8}\.tmp(?P<suffix>.*)")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write a file to; on success it takes the place of `path`.

    The temporary name keeps the suffix, since some writers choose the format by it or append it. Missing
    parent folders are made. A symbolic link is followed, so the file it points at is replaced.

    Raises:
        OutputError: The folder cannot be written to, `path` is a folder or a device, or nothing was written.
    """
    target = real_target(path)
    if target.exists() and not target.is_file():
        raise OutputError(f"Cannot write '{path}': it is not a regular file.", hint="Name another file.")
    temporary = temporary_sibling(target)
    try:
        yield temporary
        if not temporary.is_file():
            raise OutputError(f"Nothing was written for '{path}'.")
        with explained(path):
            sync(temporary)
            os.replace(temporary, target)
            sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically. Devices and pipes (`/dev/stdout`) are written to directly."""
    target = Path(path)
    if _is_device(target):
        with explained(target):
            target.write_bytes(content)
        return
    with atomic_path(target) as temporary, explained(target):
        temporary.write_bytes(content)


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write `content` as UTF-8 to `path` atomically, with newlines as they are."""
    write_bytes(path, content.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically; NaN and infinity are refused (JSON has none)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def check_output(
    path: str | os.PathLike[str],
    *,
    is_default: bool,
    force: bool,
    is_ours: Callable[[Path], bool] | None = None,
) -> Path:
    """Refuse an output file whose present content the user has not agreed to lose.

    The rule of every command (folders have `core.output_folder`): an output at its default name is replaced
    when it is ours; anything else that exists needs `--force`. Call it before the work starts, so that nobody
    waits for a refusal.

    Args:
        path: File that the command is about to write.
        is_default: Whether the user did not choose this path.
        force: The `--force` option.
        is_ours: Tells whether an existing path is a former output of ours; by default `carries_format_tag`.

    Returns:
        `path`, for use in one expression.

    Raises:
        OutputError: The path exists and may not be replaced, is a folder, or lies in none.
    """
    target = Path(path)
    check_parents(target)
    if target.is_dir():
        raise OutputError(f"'{path}' is a folder; a file is written here.", hint="Name a file in it.")
    if force or not os.path.lexists(target) or _is_device(target):
        return target
    if is_default and (is_ours or carries_format_tag)(target):
        return target
    reason = "was not written by ofa-toolkit" if is_default else "exists already"
    raise OutputError(
        f"'{path}' {reason}; it would be overwritten.", hint="Name another path, or add --force."
    )


def check_parents(path: Path) -> None:
    """Refuse a place below something that is no folder, before the work starts.

    Raises:
        OutputError: Names what is in the way.
    """
    nearest = next((parent for parent in path.parents if os.path.lexists(parent)), path.parent)
    if os.path.lexists(nearest) and not nearest.is_dir():
        raise OutputError(f"'{nearest}' is no folder; '{path}' cannot lie in it.", hint="Name another path.")


def carries_format_tag(path: Path) -> bool:
    """Whether a JSON or TOML file has a `format` tag of ours."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_TAGGED_FILE:
            return False
        document = _read_document(path)
    except (OSError, FileFormatError):
        return False
    tag = document.get("format") if isinstance(document, dict) else None
    return isinstance(tag, str) and tag.startswith(FORMAT_PREFIX)


def append_lines(path: str | os.PathLike[str], *lines: str) -> None:
    """Append lines of text, on disk when this returns; what a killed run left of a line stays apart.

    Readers must expect that cut-off line. Missing parent folders are made.

    Raises:
        OutputError: The file cannot be written.
    """
    target = real_target(path)
    with explained(path), target.open("a+b") as file:
        if file.tell() and not _ends_a_line(file):
            file.write(b"\n")
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _read_document(path: Path) -> Any:
    if path.suffix == ".toml":
        return toml.load(path)
    return read_json(path)


def real_target(path: str | os.PathLike[str]) -> Path:
    """The place to rename to: links resolved, parent folders made."""
    given = Path(path)
    with explained(path):
        target = given.resolve() if given.is_symlink() else given.absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


def temporary_sibling(target: Path) -> Path:
    """A free hidden name beside `target`; what killed processes left under such names is removed."""
    with contextlib.suppress(OSError):
        for path in target.parent.iterdir():
            match = _TEMPORARY.fullmatch(path.name)
            if match and (match["stem"], match["suffix"]) == (target.stem, target.suffix):
                _remove_if_abandoned(path, match["host"], int(match["pid"]))
    return target.with_name(f".{target.stem}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp{target.suffix}")


def is_temporary(path: Path) -> bool:
    """Whether a path has the name of an output that is being written, or was when its writer died."""
    return _TEMPORARY.fullmatch(path.name) is not None


def _remove_if_abandoned(path: Path, host: str, pid: int) -> None:
    if host != _HOST or _is_running(pid):
        return
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # another user's
    return True


def sync(path: Path) -> None:
    """Have a file's or a folder's content on disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the operating system's refusal into one line that names the path the user gave."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write '{path}': {error.strerror or error}.",
            hint="Check the folder, its permissions and the free space.",
        ) from error


def free_path(path: Path) -> Path:
    """The path where nothing has it, else the first free one of `path-2`, `path-3` and so on."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([path], numbered) if not os.path.lexists(each))

"""Writing files so that a reader sees the old content or the new one, never half of it.

Everything is written under a hidden name in the destination's own folder, flushed to disk, and renamed.
When anything fails the hidden file is removed and the destination is as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ofa_toolkit.core import toml
from ofa_toolkit.core.errors import OutputError

FORMAT_PREFIX = "ofa-toolkit/"
"""The start of the `format` tag in every file of ours."""

_DESCRIBING_FILES = ("config.json", "card.toml", "device.toml", "kit.json")
_LARGEST_TAGGED_FILE = 64 * 2**20


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write a file to; on success it takes the place of `path`.

    The temporary name keeps the suffix, since some writers choose the format by it or append it. Missing
    parent folders are made. A symbolic link is followed, so the file it points at is replaced.

    Raises:
        OutputError: The folder cannot be written to, `path` is a folder or a device, or nothing was written.
    """
    target = _real_target(Path(path))
    if target.exists() and not target.is_file():
        raise OutputError(f"Cannot write '{path}': it is not a regular file.", hint="Name another file.")
    temporary = _temporary_sibling(target)
    try:
        yield temporary
        if not temporary.is_file():
            raise OutputError(f"Nothing was written for '{path}'.")
        with _explained(path):
            _sync(temporary)
            os.replace(temporary, target)
            _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str], *, replace: bool = False) -> Iterator[Path]:
    """Yield a new empty folder to fill; on success it becomes `path`.

    With `replace`, an existing folder is moved aside first and removed last; POSIX has no single step that
    exchanges two folders, so for an instant `path` does not exist, but no mixture of the two ever does.

    Raises:
        OutputError: `path` exists and `replace` is not set, or the folder cannot be written to.
    """
    target = _real_target(Path(path))
    if target.exists() and not (replace and target.is_dir()):
        reason = "it exists already" if target.is_dir() else "it is not a folder"
        raise OutputError(f"Cannot write folder '{path}': {reason}.", hint="Name another folder.")
    temporary = _temporary_sibling(target)
    with _explained(path):
        temporary.mkdir()
    try:
        yield temporary
        with _explained(path):
            for file in temporary.rglob("*"):
                _sync(file)
            _exchange(temporary, target)
            _sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically. Devices and pipes (`/dev/stdout`) are written to directly."""
    target = Path(path)
    if _is_device(target):
        with _explained(target):
            target.write_bytes(content)
        return
    with atomic_path(target) as temporary, _explained(target):
        temporary.write_bytes(content)


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
    """Refuse an output path whose present content the user has not agreed to lose.

    The rule of every command: an output at its default name is replaced when it is ours; anything else
    that exists needs `--force`. Call it before the work starts, so that nobody waits for a refusal.

    Args:
        path: Where the command is about to write.
        is_default: Whether the user did not choose this path.
        force: The `--force` option.
        is_ours: Tells whether an existing path is a former output of ours; by default `carries_format_tag`.

    Returns:
        `path`, for use in one expression.

    Raises:
        OutputError: The path exists and may not be replaced.
    """
    target = Path(path)
    if force or not os.path.lexists(target) or _is_device(target):
        return target
    if is_default and (is_ours or carries_format_tag)(target):
        return target
    reason = "was not written by ofa-toolkit" if is_default else "exists already"
    raise OutputError(
        f"'{path}' {reason}; it would be overwritten.", hint="Name another path, or add --force."
    )


def carries_format_tag(path: Path) -> bool:
    """Whether a JSON or TOML file, or the file that describes a folder, has a `format` tag of ours."""
    if path.is_dir():
        return any(carries_format_tag(path / name) for name in _DESCRIBING_FILES if (path / name).is_file())
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_TAGGED_FILE:
            return False
        document = _read_document(path)
    except (OSError, ValueError):
        return False
    tag = document.get("format") if isinstance(document, dict) else None
    return isinstance(tag, str) and tag.startswith(FORMAT_PREFIX)


def append_lines(path: str | os.PathLike[str], *lines: str) -> None:
    """Append lines of text, on disk when this returns; what a killed run left of a line stays apart.

    Readers must expect that cut-off line. Missing parent folders are made.

    Raises:
        OutputError: The file cannot be written.
    """
    target = _real_target(Path(path))
    with _explained(path), target.open("a+b") as file:
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
        return toml.loads(path.read_text(encoding="utf-8"))
    return json.loads(path.read_bytes())


def _real_target(path: Path) -> Path:
    """The place to rename to: links resolved, parent folders made."""
    with _explained(path):
        target = path.resolve() if path.is_symlink() else path.absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _temporary_sibling(target: Path) -> Path:
    return target.with_name(f".{target.stem}.{os.getpid()}-{secrets.token_hex(4)}.tmp{target.suffix}")


def _exchange(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.rename(temporary, target)
        return
    old = _temporary_sibling(target)
    os.rename(target, old)
    try:
        os.rename(temporary, target)
    except BaseException:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def _explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the operating system's refusal into one line that names the path the user gave."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write '{path}': {error.strerror or error}.",
            hint="Check the folder, its permissions and the free space.",
        ) from error

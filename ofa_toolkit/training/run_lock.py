"""One process a run folder: two that trained into it would write over each other."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ofa_toolkit.core.errors import TrainingError

LOCK_FILE = "run.lock"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder, which is made if missing; one that is still empty afterwards is removed again.

    The lock is the process's own (POSIX): it ends with the process however that ends, is not passed on to
    workers that it forks, and works over NFS.

    Raises:
        TrainingError: Another process holds the folder; names it.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    file = _acquire(path)
    try:
        _describe_holder(file)
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _acquire(path: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            with file:
                holder = _holder(file)
            raise TrainingError(
                f"'{path.parent}' is being trained into by {holder}.",
                hint="Wait for it, stop it, or name another folder with --out.",
            ) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        # The one before removed its file after this one had opened it.
        file.close()


def _describe_holder(file: IO[str]) -> None:
    now = dt.datetime.now(dt.timezone.utc).astimezone().isoformat(" ", "seconds")
    file.truncate(0)
    file.write(json.dumps({"process": os.getpid(), "host": platform.node(), "since": now}) + "\n")
    file.flush()


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        facts = json.loads(file.read())
        return f"process {facts['process']} on {facts['host']} since {facts['since']}"
    except (ValueError, LookupError, TypeError, RecursionError):
        return "another process"

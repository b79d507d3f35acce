"""Writes an output folder in a child process that is killed at the n-th change of the disk, for every n.

    python kill_points.py FOLDER replace|new

Prints, per kill, what the folder holds then and after the same call once more, as JSON lines.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from ofa_toolkit.core.output_folder import output_folder, read_manifest

NEW = {"a": "new a", "sub/b": "new b", "c": "new c"}
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")


def write(folder: Path, content: dict[str, str], *, replace: bool = False, force: bool = False) -> None:
    with output_folder(folder, "network", replace=replace, force=force) as staging:
        for name, text in content.items():
            (staging / name).parent.mkdir(exist_ok=True)
            (staging / name).write_text(text)


def content_of(folder: Path) -> dict[str, str]:
    """Every file below the folder's parent, hidden ones too."""
    top = folder.parent
    return {
        str(path.relative_to(top)): path.read_text(errors="replace")
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def _write_and_die(folder: Path, number: int, options: dict[str, bool]) -> None:
    count = 0

    def strike(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in _CHANGES or (event == "open" and _writes(arguments)):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(strike)
    write(folder, NEW, **options)
    os._exit(0)


def _writes(arguments: tuple[object, ...]) -> bool:
    return isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))


def main(top: Path, mode: str) -> None:
    options = {} if mode == "new" else {mode: True}
    number, is_killed = 0, True
    while is_killed:
        number += 1
        folder = top / str(number) / "out"
        folder.parent.mkdir(parents=True)
        if mode != "new":
            write(folder, {"a": "old a", "sub/b": "old b", "gone/d": "old d"})
            (folder / "thesis.txt").write_text("mine")
        elif top.name == "empty":
            folder.mkdir()
        child = os.fork()
        if not child:
            _write_and_die(folder, number, options)
        _, status = os.waitpid(child, 0)
        is_killed = os.WIFSIGNALED(status)
        killed = content_of(folder)
        manifest = read_manifest(folder) if folder.is_dir() else None
        # Killed after its last step, an output is one like any other.
        is_done = manifest is not None and manifest.is_complete and mode == "new"
        write(folder, NEW, **{"force": True} if is_done else options)
        sys.stdout.write(json.dumps({"killed": killed, "completed": content_of(folder)}) + "\n")


if __name__ == "__main__":
    os.fsync = lambda _: None  # a killed process loses nothing that it handed to the kernel
    main(Path(sys.argv[1]), sys.argv[2])

"""Downloads that start where weights are first needed: whether they may, and how they are shown."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ofa_toolkit.core import quantities

Say = Callable[[str], None]
Show = Callable[[int, "int | None"], None]
"""Told the bytes that are there and the bytes in all, None while unknown."""

OFFLINE_VARIABLE = "OFA_TK_OFFLINE"

_LINE_BYTES = 2**24


def is_offline() -> bool:
    """Whether `OFA_TK_OFFLINE` forbids the network (any value but empty and 0)."""
    return os.environ.get(OFFLINE_VARIABLE, "") not in ("", "0")


@dataclass(frozen=True, kw_only=True)
class Display:
    """Where the progress of downloads goes.

    Attributes:
        progress: From the name of what is fetched to a context that gives a function for its progress.
        say: Told in one line about waiting, damaged files and failed mirrors.
    """

    progress: Callable[[str], AbstractContextManager[Show]]
    say: Say


def progress_lines(label: str, say: Say) -> Show:
    """Progress as a line every tenth of the way."""
    last = -1

    def show(done: int, total: int | None) -> None:
        nonlocal last
        step = 10 * done // total if total else done // _LINE_BYTES
        if step != last:
            last = step
            of = f" of {quantities.MEMORY.format(total)}" if total else ""
            say(f"{label}: {quantities.MEMORY.format(done)}{of}")

    return show


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextlib.contextmanager
def _lines_on_stderr(label: str) -> Iterator[Show]:
    yield progress_lines(label, _to_stderr)


_display = Display(progress=_lines_on_stderr, say=_to_stderr)


def display() -> Display:
    """How downloads are shown now."""
    return _display


def show_downloads(chosen: Display) -> None:
    """Show the downloads of this process in another way."""
    global _display  # noqa: PLW0603
    _display = chosen

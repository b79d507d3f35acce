"""Damaged files of every format: one line, never a traceback, a hang or a machine out of memory."""

from __future__ import annotations

import os
import resource
import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from ofa_toolkit.core.errors import OfaToolkitError
from tests.fuzz.formats import FORMATS, Format
from tests.fuzz.mutations import mutated

LONGEST_SECONDS = 20
MOST_BYTES = 2 * 2**30


@contextmanager
def limited() -> Iterator[None]:
    """Interrupt what computes too long, on a machine of any load."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"more than {LONGEST_SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def problems(kind: Format, folder: Path, numbers: range) -> Iterator[str]:
    """What goes wrong with variants of a file, by their numbers."""
    kind.prepare(folder)
    target = folder / kind.target
    good = target.read_bytes()
    for number in numbers:
        target.write_bytes(mutated(good, np.random.default_rng(number)))
        try:
            with limited(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                kind.read(target)
        except (OfaToolkitError, click.ClickException):
            pass
        except BaseException as error:
            # Some readers panic with errors that are no `Exception`.
            if isinstance(error, KeyboardInterrupt):
                raise
            places = traceback.extract_tb(error.__traceback__)
            place = next((each for each in reversed(places) if "ofa_t" in each.filename), places[-1])
            yield f"{number}: {type(error).__name__}: {str(error)[:150]} at {place.filename}:{place.lineno}"


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_a_few_damaged_files(kind: Format, tmp_path: Path) -> None:
    if kind.cost == 1:
        assert list(problems(kind, tmp_path, range(12))) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_damaged_files(kind: Format, tmp_path: Path) -> None:
    """In a process of its own, with little memory beyond what it has."""
    child = os.fork()
    if not child:
        code = 1
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
            found = list(problems(kind, tmp_path, range(100, 100 + 300 // kind.cost)))
            (tmp_path / "problems.txt").write_text("\n".join(found))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (tmp_path / "problems.txt").read_text() == ""

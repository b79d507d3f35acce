"""The tests that reach a line of the product, and running them against a changed one; for `mutants.py`.

Every test runs once under coverage, in a process of its own that is forked with the large packages loaded.
"""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
import json
import os
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import coverage
import pytest
from _pytest.reports import TestReport

HEAVY = [
    "torch",
    "torchvision",
    "numpy",
    "onnx",
    "onnxruntime",
    "rich",
    "click",
    "sklearn.metrics",
    "coverage",
]
"""Loaded once, before the forks: nothing of the product, which each fork must read from its files."""

Nodes: TypeAlias = "dict[str, float]"
"""Seconds of each test, by its pytest node id."""

EXIT_PASSED, EXIT_FAILED = 0, 1

GUARDS = [
    "tests/golden/test_settings.py::test_settings_are_as_they_were[{module}]",
    "tests/unit/test_data_classes.py::test_values_do_not_change_and_fields_are_given_by_name[{package}]",
]
"""They read classes, and run no line of the files that declare them."""


@dataclass(frozen=True)
class Reach:
    """Which tests run which lines; `lines` gives their node ids by file and line."""

    seconds: Nodes
    lines: dict[str, dict[int, list[str]]]

    def tests(self, file: Path, line: int, budget: float) -> list[str]:
        """The tests of a line, as many as take `budget` seconds: the shortest of those that run it.

        A line outside every function (a constant, a field) runs once a process, in whichever test imports
        its file first; for it those of the classes come first, then by turns one of those that run most
        lines of the file and one of the shortest.
        """
        of_file = self.lines.get(str(file), {})
        if line in _function_lines(file):
            ordered = sorted(of_file.get(line, ()), key=lambda test: (self.seconds[test], test))
        else:
            package, *rest = file.with_suffix("").parts[1:]
            names = {"package": package, "module": ".".join(("ofa_toolkit", package, *rest))}
            guards = [test for guard in GUARDS if (test := guard.format(**names)) in self.seconds]
            counts = Counter(test for tests in of_file.values() for test in tests)
            by_lines = sorted(counts, key=lambda test: (-counts[test], test))
            by_time = sorted(counts, key=lambda test: (self.seconds[test], test))
            turns = itertools.chain.from_iterable(zip(by_lines, by_time, strict=True))
            ordered = list(dict.fromkeys([*guards, *turns]))
        chosen, total = [], 0.0
        for test in ordered:
            total += self.seconds[test]
            if chosen and total > budget:
                break
            chosen.append(test)
        return chosen


@functools.cache
def _function_lines(file: Path) -> frozenset[int]:
    """The lines of the bodies of a file's functions."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines |= set(range(node.body[0].lineno, node.body[-1].end_lineno + 1))
    return frozenset(lines)


def preload() -> None:
    """Load what every fork needs and no mutant changes."""
    for name in HEAVY:
        importlib.import_module(name)


def measure_reach(folder: Path, roots: Sequence[str], packages: Sequence[str]) -> Reach:
    """Run the tests of `roots`, file by file; results are kept in `folder`, so that a killed call goes on.

    A test file that fails without a mutant would notice every one: its failing tests are left out, and named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seconds: Nodes = {}
    lines: dict[str, dict[int, list[str]]] = {}
    files = sorted(
        {
            file
            for root in map(Path, roots)
            for file in ([root] if root.is_file() else root.rglob("test_*.py"))
        }
    )
    for number, file in enumerate(files, start=1):
        kept = folder / f"{'.'.join(file.with_suffix('').parts)}.json"
        if not kept.exists():
            print(f"{number}/{len(files)} {file}", flush=True)
            run_forked(
                lambda file=file, kept=kept: _measure(file, kept, packages),
                kept.with_suffix(".log"),
                3600,
                7200,
            )
        if not kept.exists():
            sys.exit(f"{file} ended without a result: see {kept.with_suffix('.log')}")
        found = json.loads(kept.read_text(encoding="utf-8"))
        seconds |= found["seconds"]
        for source, by_line in found["lines"].items():
            for line, tests in by_line.items():
                lines.setdefault(source, {}).setdefault(int(line), []).extend(tests)
    return Reach(seconds, lines)


def _measure(file: Path, kept: Path, packages: Sequence[str]) -> int:
    """In a fork: the tests of one file under coverage."""
    measured = coverage.Coverage(data_file=None, source=[f"ofa_toolkit/{package}" for package in packages])
    contexts = _Contexts(measured)
    measured.start()
    code = _pytest([str(file)], plugins=[contexts])
    measured.stop()
    data = measured.get_data()
    lines: dict[str, dict[int, list[str]]] = {}
    for source in sorted(data.measured_files()):
        name = str(Path(source).relative_to(Path.cwd()))
        for line, tests in data.contexts_by_lineno(source).items():
            if passed := [test for test in tests if test in contexts.seconds]:
                lines.setdefault(name, {})[line] = passed
    part = kept.with_suffix(".part")
    part.write_text(json.dumps({"seconds": contexts.seconds, "lines": lines}), encoding="utf-8")
    part.replace(kept)
    return code


class _Contexts:
    """A pytest plugin: coverage's context is the test, and passing tests are timed."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.seconds: Nodes = {}
        self._measured = measured

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)
        yield
        self._measured.switch_context("")

    def pytest_runtest_logreport(self, report: TestReport) -> None:
        if report.when == "setup" and report.passed:
            self.seconds[report.nodeid] = 0.0
        if report.nodeid in self.seconds:
            self.seconds[report.nodeid] += report.duration
            if not report.passed:
                del self.seconds[report.nodeid]


def run_tests(tests: Sequence[str], log: Path, seconds: float) -> tuple[int | None, str]:
    """Run them in a fork until the first fails; its exit code, and what pytest printed.

    Args:
        tests: Node ids.
        log: File for the output.
        seconds: The longest processor time; None is returned as the code when it is over.
    """
    code = run_forked(lambda: _pytest(["-x", *tests]), log, seconds, 20 * seconds)
    return code, log.read_text(encoding="utf-8", errors="replace")


def _pytest(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return int(pytest.main([*options, *arguments], plugins=list(plugins)))


def run_forked(work: Callable[[], int], log: Path, cpu_seconds: float, wall_seconds: float) -> int | None:
    """The exit code of `work` in a fork whose output goes to `log`; None where a limit ended it."""
    child = os.fork()
    if child == 0:
        code = EXIT_FAILED
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            os.setpgid(0, 0)
            limit = int(cpu_seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            code = work()
            sys.stdout.flush()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    end = time.monotonic() + wall_seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            with suppress(ProcessLookupError):
                os.killpg(child, 9)
            os.waitpid(child, 0)
            return None
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(child, 9)  # what the tests started and left behind
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None

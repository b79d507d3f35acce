"""Mutation testing: change the code in one place at a time and see whether the tests notice.

    python tools/mutants.py --out DIR [--count 1000] [--seed 0] [--minutes 60] [--only PATHS] [--tests PATHS]

Draws mutants of cosmic-ray in proportion to the size of each package, tries them in a clone of the
checkout, and keeps each outcome in DIR/session.sqlite: stopped in any way, the same line goes on. At its
end DIR/survivors.diff holds what no test noticed, DIR/report.json the shares. First every fast test runs
once under coverage; against a mutant run those that reach its line, shortest first, up to 20 seconds of
them, so that "killed" is a lower bound. Limits are of processor time: a busy machine kills nothing.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import functools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult
from mutant_tests import EXIT_PASSED, Reach, measure_reach, preload, run_tests

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["complexity", "evaluation", "latency", "search", "supernets", "training"]
TESTS = ["tests/unit", "tests/golden", "tests/properties", "tests/integration"]

SECONDS_OF_TESTS = 20
"""Against one mutant, as they took under coverage."""

SECONDS_AT_MOST = 60
"""Of processor time, for all tests of a mutant: a loop that never ends is one that is noticed."""


def main() -> None:
    """Go on where the last call stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--only", nargs="*", default=[f"ofa_toolkit/{package}" for package in PACKAGES])
    parser.add_argument("--tests", nargs="*", default=TESTS)
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    clone, session = out / "clone", str(out / "session.sqlite")
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    os.chdir(clone)
    # A killed run may have left its mutant in the file.
    subprocess.run(["git", "checkout", "--quiet", "."], check=True)
    # Files of byte code that go by the source's hash: a mutant may be of the same second and size.
    compiling = ["-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "ofa_toolkit", "cli"]
    subprocess.run([sys.executable, *compiling], check=True)
    sys.path[:0] = [str(clone), str(clone / "cli")]
    os.environ |= {
        "PYTHONPATH": f"{clone}:{clone / 'cli'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    preload()
    reach = measure_reach(out / "reach", arguments.tests, PACKAGES)
    sys.dont_write_bytecode = True
    if not Path(session).exists():
        part = Path(f"{session}.part")
        part.unlink(missing_ok=True)
        _plan(str(part), arguments.only, arguments.count, arguments.seed)
        part.replace(session)
    with use_db(session, WorkDB.Mode.open) as database:
        pending = sorted(database.pending_work_items, key=lambda item: item.job_id)
        for number, item in enumerate(pending, start=1):
            if time.monotonic() > deadline:
                break
            result = _try(item.mutations[0], reach, out / "last.log")
            database.set_result(item.job_id, result)
            print(f"{number}/{len(pending)} {result.test_outcome} {_where(item.mutations[0])}", flush=True)
        _report(out, database)


def _try(mutation: MutationSpec, reach: Reach, log: Path) -> WorkResult:
    tests = reach.tests(mutation.module_path, mutation.start_pos[0], SECONDS_OF_TESTS)
    operator = cosmic_ray.plugins.get_operator(mutation.operator_name)(**mutation.operator_args)
    with use_mutation(mutation.module_path, operator, mutation.occurrence) as (before, after):
        code, output = (
            run_tests(tests, log, SECONDS_AT_MOST) if tests else (EXIT_PASSED, "No test reaches the line.")
        )
    names = [f"{side}/{mutation.module_path}" for side in "ab"]
    return WorkResult(
        worker_outcome=WorkerOutcome.NORMAL,
        test_outcome=TestOutcome.SURVIVED if code == EXIT_PASSED else TestOutcome.KILLED,
        output=output[-2000:],
        diff="\n".join(difflib.unified_diff(before.split("\n"), after.split("\n"), *names, lineterm="")),
    )


def _plan(session: str, only: Sequence[str], count: int, seed: int) -> None:
    """Draw the mutants; their list is part of the session."""
    modules = [
        file
        for path in map(Path, only)
        for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))
    ]
    with use_db(session, WorkDB.Mode.create) as database:
        init(modules, database, {})
        by_package: dict[str, list[WorkItem]] = {package: [] for package in PACKAGES}
        for item in database.work_items:
            (mutation,) = item.mutations
            if _is_telling(mutation):
                by_package[mutation.module_path.parts[1]].append(item)
        total = sum(map(len, by_package.values()))
        draw = random.Random(seed)
        chosen: list[WorkItem] = []
        for package in sorted(by_package):
            found = sorted(by_package[package], key=lambda item: _where(item.mutations[0]))
            chosen += draw.sample(found, min(len(found), max(1, round(count * len(found) / total))))
        database.clear()
        draw.shuffle(chosen)
        # The order of trying is that of the names, so that every beginning is a fair sample.
        database.add_work_items(
            WorkItem.single(f"{number:05d}", item.mutations[0]) for number, item in enumerate(chosen)
        )
    print(f"{len(chosen)} of {total} mutants drawn.")


def _is_telling(mutation: MutationSpec) -> bool:
    """Whether it is worth a try: nothing reads the `|` of a type, and bits of a float raise at once."""
    line, column = mutation.start_pos
    if "BitOr_" in mutation.operator_name and line in _annotated(mutation.module_path):
        return False
    # The tool cannot replace the dotted name of an exception.
    if "ExceptionReplacer" in mutation.operator_name and "." in _source_line(mutation):
        return False
    # The star of a signature is no product: a slash there takes the same calls.
    if _source_line(mutation).startswith("*,", column):
        return False
    return not mutation.operator_name.endswith(("_LShift", "_RShift", "_BitAnd", "_BitOr", "_BitXor"))


def _source_line(mutation: MutationSpec) -> str:
    return mutation.module_path.read_text(encoding="utf-8").splitlines()[mutation.start_pos[0] - 1]


@functools.cache
def _annotated(module: Path) -> frozenset[int]:
    """The lines of a module that annotations stand on."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if part is not None:
                lines |= set(range(part.lineno, part.end_lineno + 1))
    return frozenset(lines)


def _where(mutation: MutationSpec) -> str:
    line, column = mutation.start_pos
    return f"{mutation.module_path}:{line}:{column} {mutation.operator_name} {mutation.occurrence}"


def _report(out: Path, database: WorkDB) -> None:
    results = dict(database.results)
    counts = {package: {"killed": 0, "survived": 0} for package in PACKAGES}
    survivors = []
    for item in database.work_items:
        if item.job_id not in results:
            continue
        (mutation,), result = item.mutations, results[item.job_id]
        has_survived = result.test_outcome == TestOutcome.SURVIVED
        counts[mutation.module_path.parts[1]]["survived" if has_survived else "killed"] += 1
        if has_survived:
            survivors.append(f"# {_where(mutation)}\n{result.diff}\n")
    killed, survived = (sum(each[name] for each in counts.values()) for name in ("killed", "survived"))
    left = database.num_work_items - len(results)
    (out / "survivors.diff").write_text("".join(survivors), encoding="utf-8")
    report = {"killed": killed, "survived": survived, "left": left, "packages": counts}
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    share = 100 * killed / max(1, killed + survived)
    print(f"{killed} killed, {survived} survived ({share:.1f} %), {left} left.")


if __name__ == "__main__":
    main()

"""Mutation testing: change the code in one place at a time and see whether the tests notice.

    python tools/mutants.py --out DIR [--count 1000] [--seed 0] [--minutes 60]

Draws mutants of cosmic-ray in proportion to the size of each package, tries them in a clone of the checkout,
and keeps each outcome in DIR/session.sqlite: stopped in any way, the same line goes on. At its end
DIR/survivors.diff holds what no test noticed, DIR/report.json the shares. Tests that name the changed module
run first, then the others of its package; slow ones never run.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkItem

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "complexity": ["tests/properties/test_spaces.py", "tests/golden/test_reference_networks.py"],
    "evaluation": ["tests/unit/evaluation", "tests/integration/test_predictor_build.py"],
    "latency": ["tests/unit/latency", "tests/golden/test_latency_tables.py"],
    "search": [
        "tests/unit/search",
        "tests/properties/test_search_operators.py",
        "tests/integration/test_search_pipeline.py",
    ],
    "supernets": [
        "tests/unit/supernets",
        "tests/properties/test_supernets.py",
        "tests/golden/test_reference_networks.py",
    ],
    "training": [
        "tests/unit/training",
        "tests/golden/test_deps_step.py",
        "tests/integration/test_training_methods.py",
        "tests/integration/test_training_resume.py",
    ],
}
"""By package: the tests that are to notice its mutants."""

TIMEOUT_SECONDS = 900


def main() -> None:
    """Go on where the last call stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    arguments = parser.parse_args()
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
    os.environ |= {"PYTHONPATH": f"{clone}:{clone / 'cli'}", "PYTHONDONTWRITEBYTECODE": "1"}
    if not Path(session).exists():
        _plan(session, arguments.count, arguments.seed)
    _check_unchanged()
    deadline = time.monotonic() + 60 * arguments.minutes
    with use_db(session, WorkDB.Mode.open) as database:
        pending = sorted(database.pending_work_items, key=lambda item: item.job_id)
        for number, item in enumerate(pending, start=1):
            if time.monotonic() > deadline:
                break
            (mutation,) = item.mutations
            result = mutate_and_test(item.mutations, _command(mutation.module_path), TIMEOUT_SECONDS)
            database.set_result(item.job_id, result)
            print(f"{number}/{len(pending)} {result.test_outcome} {_where(mutation)}", flush=True)
        _report(out, database)


def _plan(session: str, count: int, seed: int) -> None:
    """Draw the mutants; their list is part of the session."""
    modules = [path for package in TESTS for path in sorted(Path("ofa_toolkit", package).rglob("*.py"))]
    with use_db(session, WorkDB.Mode.create) as database:
        init(modules, database, {})
        by_package: dict[str, list[WorkItem]] = {package: [] for package in TESTS}
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
    # The star of a signature is no product: a slash there takes the same calls.
    if mutation.module_path.read_text(encoding="utf-8").splitlines()[line - 1].startswith("*,", column):
        return False
    return not mutation.operator_name.endswith(("_LShift", "_RShift", "_BitAnd", "_BitOr", "_BitXor"))


@functools.cache
def _annotated(module: Path) -> frozenset[int]:
    """The lines of a module that annotations stand on."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if part is not None:
                lines |= set(range(part.lineno, part.end_lineno + 1))
    return frozenset(lines)


def _tests(module: Path) -> Sequence[str]:
    """Test files for a module: those that name it first."""
    name = ".".join(module.with_suffix("").parts)
    files: list[Path] = []
    for place in map(Path, TESTS[module.parts[1]]):
        files += [place] if place.is_file() else sorted(place.rglob("test_*.py"))
    files += sorted(Path("tests/unit").glob("test_*.py")) if module.parts[1] == "complexity" else []
    names_it = {file: name in file.read_text(encoding="utf-8") for file in files}
    return [str(file) for file in sorted(files, key=lambda file: not names_it[file])]


def _command(module: Path) -> str:
    options = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return shlex.join([sys.executable, *options, *_tests(module)])


def _check_unchanged() -> None:
    """Tests that fail without a mutant would notice every one."""
    for package in TESTS:
        command = _command(Path("ofa_toolkit", package, "__init__.py"))
        if subprocess.run(shlex.split(command), check=False, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"The tests of {package} fail without a mutant: {command}")


def _where(mutation: MutationSpec) -> str:
    line, column = mutation.start_pos
    return f"{mutation.module_path}:{line}:{column} {mutation.operator_name} {mutation.occurrence}"


def _report(out: Path, database: WorkDB) -> None:
    results = dict(database.results)
    counts = {package: {"killed": 0, "survived": 0} for package in TESTS}
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

"""Subcommands of `ofa-tk study` that train recipes with several seeds, measure them alike, and report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.launching import Launching, launching_options
from ofa_tk.reporter import TerminalReporter
from ofa_toolkit.core.command_line import command_line

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.studies.folder import State, StudyFolder

_out = click.option(
    "--out",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The study's folder.",
)


@click.command("run")
@click.argument("file", type=options.InputPath(dir_okay=False), metavar="FILE.toml")
@_out
@launching_options("Runs at a time.")
@click.option("--retry-failed", is_flag=True, help="Try runs again that failed.")
@options.json_option
def run_command(
    file: Path,
    folder: Path,
    launching: Launching,
    retry_failed: bool,
    as_json: bool,
) -> None:
    """Train and measure all runs of a study that are not finished.

    Stopped or killed, the same command goes on. Several machines may work in one shared folder.
    """
    from ofa_toolkit.pipelines.studies.definition import load_study
    from ofa_toolkit.pipelines.studies.folder import StudyFolder
    from ofa_toolkit.pipelines.studies.queue import check_images, run_study

    study, study_folder = load_study(file), StudyFolder(folder)
    if launching.is_local:
        check_images(study, study_folder)
    states = run_study(
        study,
        study_folder,
        launching.launcher(),
        jobs=launching.jobs,
        retry_failed=retry_failed,
        reporter=TerminalReporter(),
    )
    _print_states(study_folder, states, as_json)
    if "measured" in states.values():
        output.next_step(command_line("study", "report", "--out", folder))


@click.command("status")
@_out
@options.json_option
def status_command(folder: Path, as_json: bool) -> None:
    """Tell how far each run of a study is."""
    from ofa_toolkit.pipelines.studies.definition import runs_of
    from ofa_toolkit.pipelines.studies.folder import StudyFolder

    study_folder = StudyFolder(folder)
    states = {run.name: study_folder.state(run) for run in runs_of(study_folder.study())}
    _print_states(study_folder, states, as_json)


@click.command("measure", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("name")
@options.json_option
def measure_command(folder: Path, name: str, as_json: bool) -> None:
    """Measure one trained run of a study; the queue calls this."""
    from ofa_toolkit.pipelines.studies.folder import StudyFolder
    from ofa_toolkit.pipelines.studies.measure import measure_run

    path = measure_run(StudyFolder(folder), name)
    if as_json:
        output.print_json({"file": path})
        return
    output.note(f"Wrote {path}")


@click.command("report")
@_out
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to write; DIR/report of the study if left out.",
)
@options.json_option
def report_command(folder: Path, target: Path | None, as_json: bool) -> None:
    """Write tables, figures and one HTML page from the results so far."""
    from ofa_toolkit.pipelines.studies.folder import StudyFolder
    from ofa_toolkit.pipelines.studies.report import write_report

    written = write_report(StudyFolder(folder), target or folder / "report")
    if as_json:
        output.print_json({"files": written})
        return
    tables = next(path for path in written if path.suffix == ".md")
    _print_tables(tables.read_text(encoding="utf-8"))
    output.note(f"Wrote {len(written)} files, the page among them: {tables.with_name('index.html')}")


def _print_tables(markdown: str) -> None:
    """Print headings, tables and sentences as the terminal's width allows."""
    for number, block in enumerate(markdown.strip().split("\n\n")):
        if number:
            output.line()
        if block.startswith("| "):
            head, _, *rows = ([cell.strip() for cell in row.split("|")[1:-1]] for row in block.splitlines())
            columns = [output.Column(name=name, is_number=index > 1) for index, name in enumerate(head)]
            output.print_table(columns, rows)
        else:
            output.line(block.removeprefix("## "), bold=block.startswith("## "))


def _print_states(folder: StudyFolder, states: dict[str, State], as_json: bool) -> None:
    failures = {name: folder.read_failure(name) for name, state in states.items() if state == "failed"}
    said = {
        name: failure["last_lines"][-1:] or [f"ended with code {failure['exit_code']}"]
        for name, failure in failures.items()
    }
    said |= {
        name: folder.last_lines(name, 1)
        for name, state in states.items()
        if state in ("running", "interrupted")
    }
    last = {name: lines[0] for name, lines in said.items() if lines}
    if as_json:
        output.print_json({"runs": states, "failures": failures, "last_lines": last})
        return
    rows = [[name, state, last.get(name, "")] for name, state in states.items()]
    output.print_table(["run", "state", "said last"], rows)
    output.note(", ".join(f"{count} {state}" for state, count in Counter(states.values()).items()))

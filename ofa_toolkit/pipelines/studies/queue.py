"""Works through the runs of a study: trains each in its own process, then measures it.

A queue that is killed is started again with the same command: finished runs are left alone, a training run
goes on from its last checkpoint, and what another process (here or on another machine that shares the
folder) holds is passed over.
"""

from __future__ import annotations

import sys

from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.pipelines.launchers import STOPPED, Launcher, run_all
from ofa_toolkit.pipelines.studies.definition import StudyConfig, StudyRun, runs_of
from ofa_toolkit.pipelines.studies.folder import State, StudyFolder
from ofa_toolkit.pipelines.training.run import open_run_dataset


def check_images(study: StudyConfig, folder: StudyFolder) -> None:
    """Open the images once where a run is left to do, so that none is started to fail for want of them.

    Raises:
        DataError: They are missing or malformed.
    """
    left = (run for run in runs_of(study) if folder.state(run) not in ("measured", "failed"))
    if (run := next(left, None)) is not None:
        open_run_dataset(run.config(), download=False)


def run_study(
    study: StudyConfig,
    folder: StudyFolder,
    launcher: Launcher,
    *,
    jobs: int = 1,
    retry_failed: bool = False,
    reporter: Reporter = SILENT,
) -> dict[str, State]:
    """Train and measure all runs that are not finished, `jobs` at a time; the state of each by name.

    A run that fails is kept as it is and reported; only `retry_failed` tries it again.

    Raises:
        OutputError: The folder holds something else.
    """
    folder.open(study)
    runs = list(runs_of(study))
    if retry_failed:
        for run in runs:
            folder.failure(run.name).unlink(missing_ok=True)
    queue = _Queue(folder, launcher, reporter)
    run_all(launcher, queue.work, runs, at_a_time=jobs)
    return {run.name: folder.state(run) for run in runs}


class _Queue:
    def __init__(self, folder: StudyFolder, launcher: Launcher, reporter: Reporter) -> None:
        self._folder = folder
        self._launcher = launcher
        self._reporter = reporter

    def work(self, run: StudyRun) -> None:
        """Train and measure one run, unless it is finished, failed or held by another process."""
        folder = self._folder
        with folder.claim(run.name) as claim:
            if claim is None or self._launcher.is_stopped:
                return
            if folder.result(run.name).is_file() or folder.failure(run.name).is_file():
                return
            measure = [sys.executable, "-m", "ofa_tk", "study", "measure", str(folder.path), run.name]
            steps = [("training", run.command(str(folder.run(run.name)))), ("measuring", measure)]
            for what, command in steps:
                self._tell(run, what)
                code = self._launcher.run(command, folder.log(run.name), claim)
                if code:
                    self._tell(run, self._ended_early(run, code))
                    return
        self._tell(run, "measured")

    def _ended_early(self, run: StudyRun, code: int) -> str:
        # A run that was asked to stop (Ctrl-C, SIGTERM) has not failed: it goes on next time.
        if code == STOPPED or self._launcher.is_stopped:
            return "stopped"
        self._folder.record_failure(run.name, code)
        return f"failed, see {self._folder.log(run.name)}"

    def _tell(self, run: StudyRun, what: str) -> None:
        self._reporter.message(f"{run.name}: {what}")

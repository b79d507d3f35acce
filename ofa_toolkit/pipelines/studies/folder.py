"""A study on disk, and how far each of its runs is.

`study.toml`, `runs/NAME/` (training runs), `logs/NAME.log`, `results/NAME.json` (measured),
`failures/NAME.json`, `claims/NAME` (locked while a process works on the run, so that several machines can
share the folder).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core import files
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import ConfigError, OutputError
from ofa_toolkit.pipelines.studies.definition import StudyConfig, StudyRun, runs_of
from ofa_toolkit.training import run_folder

State = Literal["waiting", "running", "interrupted", "trained", "measured", "failed"]

STUDY_FILE = "study.toml"


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study."""

    path: Path

    def run(self, name: str) -> Path:
        """Folder of a training run."""
        return self.path / "runs" / name

    def log(self, name: str) -> Path:
        """What a run printed."""
        return self.path / "logs" / f"{name}.log"

    def result(self, name: str) -> Path:
        """What was measured of a run."""
        return self.path / "results" / f"{name}.json"

    def failure(self, name: str) -> Path:
        """Why a run failed."""
        return self.path / "failures" / f"{name}.json"

    def state(self, run: StudyRun) -> State:
        """How far a run is."""
        name = run.name
        if self.result(name).is_file():
            return "measured"
        if self._is_claimed(name):
            return "running"
        if self.failure(name).is_file():
            return "failed"
        if (self.run(name) / run_folder.SUMMARY_FILE).is_file():
            return "trained"
        return "interrupted" if (self.run(name) / run_folder.CONFIG_FILE).is_file() else "waiting"

    def study(self) -> StudyConfig:
        """The study in this folder.

        Raises:
            ConfigError: There is none, or it is damaged.
        """
        path = self.path / STUDY_FILE
        if not path.is_file():
            raise ConfigError(
                f"'{self.path}' holds no study ({STUDY_FILE} is missing).",
                hint="Start one: ofa-tk study run FILE.toml --out DIR",
            )
        return configuration.load_toml(StudyConfig, path)

    def open(self, study: StudyConfig) -> None:
        """Begin a study here, or go on with it; it may have gained runs since, none may have changed.

        Raises:
            OutputError: The folder holds something else, or a run that was begun with other settings.
        """
        path = self.path / STUDY_FILE
        if not path.is_file() and self.path.is_dir() and any(self.path.iterdir()):
            raise OutputError(f"'{self.path}' is not empty and holds no study.", hint="Choose another --out.")
        if path.is_file():
            begun = {run.name: run for run in runs_of(self.study()) if self.state(run) != "waiting"}
            for run in runs_of(study):
                if run.name in begun and begun[run.name] != run:
                    raise OutputError(
                        f"'{self.path}' holds a run '{run.name}' with other settings.",
                        hint="Give it another label, or choose another --out.",
                    )
        configuration.dump_toml(study, path)

    @contextmanager
    def claim(self, name: str) -> Iterator[int | None]:
        """Hold a run against all other processes; None where another one holds it.

        Yields the file descriptor of the lock. Handed to a child, it keeps the run claimed until the child
        ends, also where this process is killed before.
        """
        path = self.path / "claims" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield descriptor
        finally:
            os.close(descriptor)

    def _is_claimed(self, name: str) -> bool:
        if not (self.path / "claims" / name).exists():
            return False
        with self.claim(name) as descriptor:
            return descriptor is None

    def last_lines(self, name: str, count: int) -> list[str]:
        """What a run printed last; empty where it has printed nothing."""
        log = self.log(name)
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        return text.splitlines()[-count:]

    def record_failure(self, name: str, code: int) -> None:
        """Keep why a run failed: its exit code and the last lines it printed."""
        files.write_json(self.failure(name), {"exit_code": code, "last_lines": self.last_lines(name, 5)})

    def read_failure(self, name: str) -> dict[str, Any]:
        """What `record_failure` kept."""
        return read_object(self.failure(name), "the failure of a run")

"""Where commands run that share a large task: in processes here, or as jobs of Slurm through submitit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ofa_toolkit.core.errors import MissingDependencyError
from ofa_toolkit.core.registry import Registry

_A_DAY_IN_MINUTES = 24 * 60


class Launcher(Protocol):
    """Runs one command to its end."""

    def run(self, command: Sequence[str], log: Path, keep_open: int | None = None) -> int:
        """Run `command`, appending what it prints to `log`; its exit code.

        `keep_open` is a file descriptor that a local child inherits (the claim of a study's run).
        """
        ...


class LocalLauncher:
    """Processes of this machine."""

    def __init__(self, options: Mapping[str, str]) -> None:
        del options

    def run(self, command: Sequence[str], log: Path, keep_open: int | None = None) -> int:
        """See `Launcher`."""
        return _append(command, log, pass_fds=() if keep_open is None else (keep_open,))


class SubmititLauncher:
    """Jobs of submitit: Slurm where there is one.

    Options are those of its executor, such as `slurm_partition`; `cluster=local` runs the jobs on this
    machine, as for a try. `timeout_min` is a day if left out: submitit's own five minutes end most work.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        try:
            import submitit
        except ImportError as error:
            raise MissingDependencyError(
                "The launcher 'slurm' needs submitit, which is not installed.",
                hint="pip install 'ofa-toolkit[slurm]'",
            ) from error
        parameters: dict[str, Any] = {k: int(v) if v.isdecimal() else v for k, v in options.items()}
        self._cluster = parameters.pop("cluster", "slurm")
        self._folder = parameters.pop("folder", "submitit-logs")
        self._parameters = {"timeout_min": _A_DAY_IN_MINUTES, **parameters}
        self._executor_class = submitit.AutoExecutor

    def run(self, command: Sequence[str], log: Path, keep_open: int | None = None) -> int:
        """See `Launcher`; the claim stays with this process, which waits for the job."""
        del keep_open
        executor = self._executor_class(folder=self._folder, cluster=self._cluster)
        executor.update_parameters(name=log.stem, **self._parameters)
        return int(executor.submit(_append, list(command), log).result())


LAUNCHERS: Registry[Callable[[Mapping[str, str]], Launcher]] = Registry(
    "launcher",
    {
        "local": "ofa_toolkit.pipelines.launchers:LocalLauncher",
        "slurm": "ofa_toolkit.pipelines.launchers:SubmititLauncher",
    },
)


def _append(command: Sequence[str], log: Path, pass_fds: Sequence[int] = ()) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        done = subprocess.run(
            command,
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            check=False,
        )
    return done.returncode

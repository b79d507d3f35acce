"""Where commands run that share a large task: in processes here, or as jobs of Slurm through submitit."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ofa_toolkit.core.errors import MissingDependencyError
from ofa_toolkit.core.registry import Registry

STOPPED = 130
"""Exit code of a command that was asked to stop and kept all that it did."""

_A_DAY_IN_MINUTES = 24 * 60
_SECONDS_BETWEEN_LOOKS = 0.5

Item = TypeVar("Item")
Result = TypeVar("Result")


class Launcher(ABC):
    """Runs commands to their end, several at a time where its user has threads.

    Attributes:
        is_stopped: Whether it was asked to stop; a command that fails from then on has not failed by itself.
    """

    def __init__(self) -> None:
        self.is_stopped = False
        self._lock = threading.Lock()
        self._running: set[Any] = set()

    def run(self, command: Sequence[str], log: Path, keep_open: int | None = None) -> int:
        """Run `command`, appending what it prints to `log`; its exit code.

        `keep_open` is a file descriptor that a local child inherits (the claim of a study's run).
        """
        with self._lock:
            if self.is_stopped:
                return STOPPED
            begun = self._begin(command, log, keep_open)
            self._running.add(begun)
        try:
            return self._wait_for(begun, log)
        finally:
            with self._lock:
                self._running.remove(begun)

    def stop(self) -> None:
        """Ask the commands that run to stop, as SIGTERM does, and start no more: they are `STOPPED`."""
        with self._lock:
            self.is_stopped = True
            for begun in self._running:
                self._ask_to_stop(begun)

    @abstractmethod
    def _begin(self, command: Sequence[str], log: Path, keep_open: int | None) -> Any:
        """Start a command; what the other two know it by."""

    @abstractmethod
    def _wait_for(self, begun: Any, log: Path) -> int:
        """Its exit code, when it has ended."""

    @abstractmethod
    def _ask_to_stop(self, begun: Any) -> None:
        """SIGTERM, or what comes to the same."""


def run_all(
    launcher: Launcher, work: Callable[[Item], Result], items: Iterable[Item], *, at_a_time: int
) -> list[Result]:
    """What `work`, which runs commands by the launcher, returns for each item.

    An error, Ctrl-C or SIGTERM stops the commands. A terminal sends Ctrl-C to them as well; `kill` and job
    managers may ask this process alone. SIGTERM becomes a KeyboardInterrupt; a second one kills.
    """
    with ThreadPoolExecutor(max_workers=at_a_time) as pool, _stopping(launcher):
        futures = [pool.submit(work, item) for item in items]
        left = set(futures)
        while left:
            # No wait without end: a signal that comes just before it, or to another thread, would not end it.
            done, left = wait(left, timeout=_SECONDS_BETWEEN_LOOKS)
            for future in done:
                future.result()
        return [future.result() for future in futures]


@contextmanager
def _stopping(launcher: Launcher) -> Iterator[None]:
    def interrupt(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, interrupt) if is_main else None
    try:
        yield
    except BaseException:
        launcher.stop()
        raise
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


class LocalLauncher(Launcher):
    """Processes of this machine."""

    def __init__(self, options: Mapping[str, str]) -> None:
        del options
        super().__init__()

    def _begin(self, command: Sequence[str], log: Path, keep_open: int | None) -> subprocess.Popen[bytes]:
        return _start(command, log, pass_fds=() if keep_open is None else (keep_open,))

    def _wait_for(self, begun: subprocess.Popen[bytes], log: Path) -> int:
        del log
        return begun.wait()

    def _ask_to_stop(self, begun: subprocess.Popen[bytes]) -> None:
        begun.terminate()


class SubmititLauncher(Launcher):
    """Jobs of submitit: Slurm where there is one.

    Options are those of its executor, such as `slurm_partition`; `cluster=local` runs the jobs on this
    machine, as for a try. `timeout_min` is a day if left out: submitit's own five minutes end most work.
    A job that ends without a result, such as one out of memory or time, has exit code 1.
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
        super().__init__()
        self._cluster = parameters.pop("cluster", "slurm")
        self._folder = parameters.pop("folder", "submitit-logs")
        self._parameters = {"timeout_min": _A_DAY_IN_MINUTES, **parameters}
        self._submitit = submitit

    def _begin(self, command: Sequence[str], log: Path, keep_open: int | None) -> Any:
        del keep_open  # the claim stays with this process, which waits for the job
        executor = self._submitit.AutoExecutor(folder=self._folder, cluster=self._cluster)
        executor.update_parameters(name=log.stem, **self._parameters)
        return executor.submit(_append, list(command), log)

    def _wait_for(self, begun: Any, log: Path) -> int:
        errors = self._submitit.core.utils
        try:
            return int(begun.result())
        except (errors.UncompletedJobError, errors.FailedJobError) as error:
            with _opened(log) as stream:
                stream.write(f"{error}\n".encode())
            return 1

    def _ask_to_stop(self, begun: Any) -> None:
        begun.cancel(check=False)


LAUNCHERS: Registry[Callable[[Mapping[str, str]], Launcher]] = Registry(
    "launcher",
    {
        "local": "ofa_toolkit.pipelines.launchers:LocalLauncher",
        "slurm": "ofa_toolkit.pipelines.launchers:SubmititLauncher",
    },
)


def _append(command: Sequence[str], log: Path) -> int:
    return _start(command, log).wait()


def _start(command: Sequence[str], log: Path, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    with _opened(log) as stream:
        return subprocess.Popen(
            command,
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def _opened(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")

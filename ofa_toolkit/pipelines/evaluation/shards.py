"""A list of subnets measured by several processes that share nothing but a folder."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core.errors import ConfigError, MeasurementError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.pipelines.launchers import Launcher, run_all


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several equal parts of a list.

    Attributes:
        number: From 1.
        count: Number of parts.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `2/8`, the second of eight.

        Raises:
            ConfigError: The text is something else.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ConfigError(f"'{text}' is no part of a whole; write the second of eight as 2/8.")
        return cls(number=int(number), count=int(count))

    @property
    def name(self) -> str:
        """As in names of files: `2-of-8`."""
        return f"{self.number}-of-{self.count}"

    def indices(self, length: int) -> range:
        """Which entries of a list of that length belong to it."""
        return range(self.number - 1, length, self.count)


def launch_shards(
    launcher: Launcher, command: Sequence[str], count: int, logs: Path, reporter: Reporter = SILENT
) -> None:
    """Run a command once for each of `count` shards, all at the same time, with `--shard` at its end.

    Args:
        launcher: Where they run.
        command: The command; each shard leaves what it measured where the command finds it.
        count: Number of shards.
        logs: Folder for what they print.
        reporter: Hears of each that has ended.

    Raises:
        MeasurementError: One failed; what all others measured is kept.
    """
    done = threading.Lock()
    ended = 0

    def run(shard: Shard) -> str | None:
        nonlocal ended
        log = logs / f"shard-{shard.name}.log"
        code = launcher.run([*command, "--shard", f"{shard.number}/{shard.count}"], log)
        with done:
            ended += 1
            reporter.message(f"{ended} of {counted(count, 'shard')} ended")
        return f"shard {shard.number}/{shard.count} ended with code {code}, see {log}" if code else None

    shards = [Shard(number=number, count=count) for number in range(1, count + 1)]
    failures = run_all(launcher, run, shards, at_a_time=count)
    failed = [failure for failure in failures if failure is not None]
    if failed:
        raise MeasurementError(
            f"Not all was measured: {'; '.join(failed)}.",
            hint="Run the same command again: what is measured is kept.",
        )

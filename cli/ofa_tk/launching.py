"""Options of commands whose work can be done by several processes, here or on a cluster."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from ofa_tk.processes import is_launched
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.reporting import Reporter

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.evaluation.shards import Shard
    from ofa_toolkit.pipelines.launchers import Launcher

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Launching:
    """How many processes work where.

    Attributes:
        jobs: Number of processes at a time.
        name: Name of the launcher.
        settings: Options of the launcher.
        shard: The part that this process was asked to do alone.
    """

    jobs: int
    name: str
    settings: Mapping[str, str]
    shard: Shard | None

    @property
    def is_local(self) -> bool:
        """Whether the processes run on this machine."""
        return self.name == "local"

    @property
    def is_asked_for(self) -> bool:
        """Whether anything but this process alone was asked for."""
        return self.jobs > 1 or not self.is_local or self.shard is not None

    def launcher(self) -> Launcher:
        """What runs the processes."""
        from ofa_toolkit.pipelines.launchers import LAUNCHERS

        return LAUNCHERS[self.name](self.settings)

    def launch_shards(self, logs: Path, reporter: Reporter) -> None:
        """Run this very command once a shard, where several processes or another launcher are asked for."""
        from ofa_toolkit.pipelines.evaluation.shards import launch_shards

        if self.shard is None and self.is_asked_for:
            if is_launched():
                raise ConfigError("--jobs starts processes of its own: leave torchrun out.")
            command = [sys.executable, "-m", "ofa_tk", *sys.argv[1:]]
            launch_shards(self.launcher(), command, self.jobs, logs, reporter)


def launching_options(jobs_help: str, *, has_shards: bool = False) -> Callable[[F], F]:
    """`--jobs`, `--launcher`, `--launcher-set`, and `--shard` where there are shards (`launching`)."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(
            *args: Any,
            jobs: int,
            launcher: str,
            settings: tuple[str, ...],
            shard: str | None = None,
            **kwargs: Any,
        ) -> Any:
            if any("=" not in text for text in settings):
                raise ConfigError("--launcher-set is not of the form name=value.")
            launching = Launching(
                jobs=jobs,
                name=launcher,
                settings=dict(text.partition("=")[::2] for text in settings),
                shard=None if shard is None else _shard(shard),
            )
            return function(*args, launching=launching, **kwargs)

        decorators = [
            click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help=jobs_help),
            click.option(
                "--launcher", default="local", show_default=True, help="local, or slurm (by submitit)."
            ),
            click.option(
                "--launcher-set",
                "settings",
                multiple=True,
                metavar="NAME=VALUE",
                help="An option of the launcher. Repeatable.",
            ),
        ]
        if has_shards:
            text = "Measure one part only, such as 2/8; the same command without it does the rest."
            decorators.append(click.option("--shard", metavar="I/N", help=text))
        for decorator in reversed(decorators):
            call = decorator(call)
        return cast(F, call)

    return decorate


def _shard(text: str) -> Shard:
    from ofa_toolkit.pipelines.evaluation.shards import Shard

    return Shard.parse(text)

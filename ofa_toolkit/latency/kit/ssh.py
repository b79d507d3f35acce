"""A board reached by the system's `ssh`: keys, ports and jump hosts are those configured for it."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.core.requests import Option

BROKEN = 255
"""Exit status of `ssh` itself, when there is no connection or it broke."""

# No prompt can be answered here, and a board that went away is noticed within a minute.
_OPTIONS = (
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=20"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"),
)
_HOST = re.compile(r"[^\s-]\S*")


class ConnectionBrokenError(MeasurementError):
    """The board cannot be reached, or not any more."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A machine that `ssh` can log in to without a password.

    Raises:
        MeasurementError: The host is none.
    """

    host: Annotated[str, Option(name="--ssh", metavar="USER@BOARD")]
    "The board, as ssh takes it: user@board, a name of its configuration, or ssh://user@board:2222."
    config: Annotated[Path | None, Option(name="--ssh-config", metavar="FILE", path="input file")] = None
    "Configuration of ssh. Default: the user's."

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise MeasurementError(f"'{self.host}' is no host.", hint="--ssh user@board")

    @property
    def plain_name(self) -> str:
        """The host without its user and port."""
        return re.sub(r":\d+$", "", self.host.removeprefix("ssh://").rpartition("@")[2])

    def run(self, words: Sequence[str], *, content: bytes | None = None) -> str:
        """Output of a program on the board, `content` as its standard input.

        Raises:
            ConnectionBrokenError: There is no connection.
            MeasurementError: The program failed.
        """
        lines: list[str] = []
        status, complaint = self.stream(words, lines.append, content=content)
        if status == BROKEN:
            raise self.broken(complaint)
        if status:
            raise MeasurementError(f"'{words[0]}' failed on {self.host} ({status}): {complaint}")
        return "".join(lines)

    def stream(
        self, words: Sequence[str], on_line: Callable[[str], None], *, content: bytes | None = None
    ) -> tuple[int, str]:
        """Run a program on the board and take its output line by line.

        Returns:
            Its exit status, `BROKEN` where the connection broke, and what it said on standard error.
        """
        config = () if self.config is None else ("-F", str(self.config))
        command = ["ssh", *config, *_OPTIONS, self.host, shlex.join(words)]
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as complaints:
            source.write(content or b"")
            source.seek(0)
            try:
                process = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=complaints)
            except FileNotFoundError:
                raise MeasurementError(
                    "There is no program 'ssh' here.", hint="Install OpenSSH's client, or carry the kit over."
                ) from None
            with process:
                try:
                    assert process.stdout is not None
                    for line in process.stdout:
                        on_line(line.decode("utf-8", "replace"))
                except BaseException:
                    process.kill()
                    raise
            complaints.seek(0)
            said = complaints.read().decode("utf-8", "replace").strip()
        # ssh tells a program's death by a signal as 255 too; either way the board is asked again.
        return process.returncode if process.returncode >= 0 else BROKEN, said

    def broken(self, complaint: str) -> ConnectionBrokenError:
        """The error of a connection, with what ssh said of it."""
        lines = complaint.splitlines() or ["no reason given"]
        return ConnectionBrokenError(
            f"Cannot reach '{self.host}': {lines[-1]}",
            hint=f"`ssh {self.host} true` has to work without a question; keys and ports belong into "
            "~/.ssh/config.",
        )

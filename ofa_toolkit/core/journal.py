"""Files of JSON objects, one a line, that a killed process goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core import files
from ofa_toolkit.core.documents import read_json_lines
from ofa_toolkit.core.reporting import SILENT, Reporter

Line = dict[str, Any]


class Journal:
    """What is in it survives a crash, and need not be done again.

    Lines that hold no JSON object, such as the last one of a process that was killed, are dropped.

    Args:
        path: The file; made with the first line.
        reporter: Hears which lines are dropped.
        is_line: What else a line has to be.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        reporter: Reporter = SILENT,
        *,
        is_line: Callable[[Line], bool] = lambda _: True,
    ) -> None:
        self.path = Path(path)
        self.lines: list[Line] = []
        damaged: list[int] = []
        for number, line in read_json_lines(path) if self.path.is_file() else ():
            if line is not None and is_line(line):
                self.lines.append(line)
            else:
                damaged.append(number)
        if damaged:
            numbers = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
            reporter.message(f"'{path}': dropped damaged or cut-off line(s) {numbers}.")

    def append(self, *lines: Line) -> None:
        """Write lines; they are on disk on return."""
        files.append_lines(self.path, *(json.dumps(line, sort_keys=True) for line in lines))
        self.lines += lines

    def of_type(self, kind: str) -> list[Line]:
        """The lines whose `type` it is."""
        return [line for line in self.lines if line.get("type") == kind]

    def other_than(self, header: Mapping[str, Any]) -> str | None:
        """The first entry of a header that the journal's first line has another value for; None if none."""
        begun = self.lines[0] if self.lines else header
        return next((name for name, value in header.items() if begun.get(name) != value), None)

"""The agent's results: JSON lines that a killed run goes on from."""

import json
import os
from typing import Any, Dict, List

RESULTS_FORMAT = "ofa-toolkit/kit-results"
FORMAT_VERSION = 1
FIXED_CONDITIONS = (
    "kit",
    "backend",
    "backend_version",
    "precision",
    "batch_size",
    "arguments",
    "power_mode",
    "governors",
)
Json = Dict[str, Any]


class AgentError(Exception):
    """What the user can mend: one line."""


def read_text_whole(path: str) -> str:
    """A text file of any size."""
    with open(path, "r", encoding="utf-8", errors="replace") as file:
        return file.read()


class Journal:
    """An append-only file of JSON lines: what is in it survives a crash, and is not measured again."""

    def __init__(self, path: str, read_only: bool = False) -> None:
        self.path = path
        self.lines = []  # type: List[Json]
        content = ""
        if os.path.exists(path):
            content = read_text_whole(path)
            for line in content.splitlines():
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # the line that was being written when the power went
                if isinstance(entry, dict):
                    self.lines.append(entry)
        if content and not content.endswith("\n") and not read_only:
            with open(path, "a", encoding="utf-8") as file:
                file.write("\n")

    def append(self, entry: Json) -> None:
        """Write one line and see it to the disk."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines.append(entry)

    def of_type(self, kind: str) -> List[Json]:
        """The entries of one type."""
        return [line for line in self.lines if line.get("type") == kind]

    def check_conditions(self, session: Json) -> None:
        """Refuse to go on under conditions that make old and new lines incomparable."""
        for earlier in self.of_type("session"):
            for key in FIXED_CONDITIONS:
                if earlier.get(key) != session.get(key):
                    raise AgentError(
                        f"'{self.path}' was begun with {key} = {earlier.get(key)}, now it is "
                        f"{session.get(key)}. Restore it, or start another file with --out."
                    )

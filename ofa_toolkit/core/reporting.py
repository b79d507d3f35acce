"""Who hears of long work, and what they hear: nobody in the library, a bar or lines in a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """How far something is.

    Attributes:
        what: What is being done.
        done: Finished steps.
        total: All steps.
        facts: Further words.
        seconds_left: Predicted; None to go by the pace so far.
    """

    what: str
    done: int
    total: int
    facts: str = ""
    seconds_left: float | None = None


class Reporter(Protocol):
    """Who hears of the work."""

    def progress(self, progress: Progress) -> None:
        """After every step."""
        ...

    def message(self, text: str) -> None:
        """Something a user should read."""
        ...


class Silent:
    """A reporter that says nothing."""

    def progress(self, progress: Progress) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""


SILENT: Reporter = Silent()

"""A reporter that keeps what it hears."""

from __future__ import annotations

from ofa_toolkit.core.reporting import Progress


class Heard:
    """What was said, and how far the work was each time."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.steps: list[Progress] = []

    def progress(self, progress: Progress) -> None:
        self.steps.append(progress)

    def message(self, text: str) -> None:
        self.messages.append(text)

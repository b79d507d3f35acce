"""A situation in which a line with a command is printed, and what its commands do there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

_COMMAND = re.compile(r"`[^`]+`|\bofa-tk [a-z][^`,;()]*[^`,;().: ]|(?<![\w-])--[a-z][\w-]*")


PARSED = "(parsed)"
"""In place of a problem: the command needs a network, a GPU or minutes. Its options are read, no more."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One line, in one place where it is printed.

    Attributes:
        line: The whole line as printed, or as it stands in a file.
        typed: The command that prints it.
        unseen: Why nothing typed here prints it. It has to be a line of the sources all the same.
        runs: Parts of the line -> the next problem (a pattern), `PARSED`, or "" where the part runs to its
            end. A part is a command (`ofa-tk ...`), options to add to `typed`, or, after "without ", options
            to drop.
        file: Where `typed` writes it, in place of printing it.
        given: What the folder holds; names in `tests.hints.given`.
        fill: What the user has to put in the place of a word in capitals.
        says: Words of the line that look like a command and name a thing instead.
        base: The command that options belong to, where it is not `typed`.
        shortened: Options with which commands of the line are run, so that a test takes seconds.
        is_quick: Run in the fast suite too, which only reads the commands of the others.
    """

    line: str
    typed: str = ""
    unseen: str = ""
    file: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    fill: Mapping[str, str] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    base: str = ""
    shortened: str = ""
    is_quick: bool = False

    def words(self) -> list[str]:
        """`typed` as arguments of the program."""
        return shlex.split(self.typed)[1:]

    def untested(self) -> list[str]:
        """Commands and options of the line that nothing runs."""
        rest = self.line
        for part in (*sorted(self.runs, key=len, reverse=True), *self.says):
            text = part.removeprefix("without ")
            assert text in self.line, f"{text!r} is no part of {self.line!r}"
            rest = rest.replace(text, "").replace("``", "")
        return _COMMAND.findall(rest)

    def command(self, part: str) -> list[str]:
        """The arguments to run for a part of the line."""
        for capitals, value in self.fill.items():
            part = re.sub(rf"\b{capitals}\b", value, part)
        if part.startswith("ofa-tk "):
            return shlex.split(f"{part} {self.shortened}")[1:]
        words = shlex.split(self.base or self.typed)[1:]
        if part.startswith("without "):
            for option in part.removeprefix("without ").split():
                words = _dropped(words, option)
            return words
        added = shlex.split(part)
        for option, value in zip(added, [*added[1:], ""], strict=True):
            if option == "--set":
                words = _dropped(words, option, starting=value.partition("=")[0])
            elif option.startswith("--"):
                words = _dropped(words, option)
        return words + added


def _dropped(words: list[str], option: str, *, starting: str = "") -> list[str]:
    """The words without an option and its value, where that starts so."""
    kept: list[str] = []
    position = 0
    while position < len(words):
        value = words[position + 1] if position + 1 < len(words) else ""
        has_value = bool(value) and not value.startswith("--")
        if words[position] == option and value.startswith(starting):
            position += 1 + has_value
            continue
        kept.append(words[position])
        position += 1
    return kept

"""TOML from text and files: the standard library's reader, with errors that name file, line and column."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from ofa_toolkit.core.documents import check_depth, read_text
from ofa_toolkit.core.errors import FileFormatError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOMLDecodeError = tomllib.TOMLDecodeError


def loads(text: str) -> dict[str, Any]:
    """Parse TOML text; raises `TOMLDecodeError`, a `ValueError`."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise TOMLDecodeError("nested too deeply") from None


# An array of numbers, booleans and plain strings, as tomli_w writes it: one value a line.
_TALL_ARRAY = re.compile(
    r"""^(?P<head>[^\n\[]*)\[\n(?P<values>(?:[ ]+(?:[\w.+-]+|"[^"\\\n]*"),\n)+)[ ]*\](?P<tail>,?)$""",
    re.MULTILINE,
)
_LINE_LENGTH = 100


def dumps(document: dict[str, Any]) -> str:
    """Write a document of plain values as TOML, short arrays on one line."""
    import tomli_w

    return _TALL_ARRAY.sub(_flatten, tomli_w.dumps(document))


def _flatten(match: re.Match[str]) -> str:
    values = ", ".join(line.strip().removesuffix(",") for line in match["values"].splitlines())
    line = f"{match['head']}[{values}]{match['tail']}"
    return line if len(line) <= _LINE_LENGTH else match[0]


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        FileFormatError: The file is missing, unreadable, no text, or not TOML.
    """
    text = read_text(path)
    try:
        document = loads(text)
    except TOMLDecodeError as error:
        number = re.search(r"at line (\d+)", str(error))
        line = text.splitlines()[int(number[1]) - 1] if number else ""
        is_path = re.search(r'"[^"]*\\', line) is not None
        raise FileFormatError(
            f"'{path}' is not valid TOML: {error}.", hint=BACKSLASH_HINT if is_path else None
        ) from None
    for value in _texts(document):
        if _SPOILED_PATH.search(value):
            raise FileFormatError(
                f"'{path}' holds {value!r}, a path spoiled by an escape.", hint=BACKSLASH_HINT
            )
    check_depth(document, f"'{path}'")
    return document


BACKSLASH_HINT = "Between double quotes a backslash is special: write the path in single quotes or with /"

# "C:\temp" is valid TOML, and means a tab.
_SPOILED_PATH = re.compile(r"(?:^|:)[A-Za-z]:[\x00-\x1f]")


def _texts(value: Any) -> Iterator[str]:
    """Every text in a document."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, (dict, list)):
            waiting.extend(value.values() if isinstance(value, dict) else value)

"""TOML from text and files: the standard library's reader, with errors that name file, line and column."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from ofa_toolkit.core.errors import FileFormatError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOMLDecodeError = tomllib.TOMLDecodeError


def loads(text: str) -> dict[str, Any]:
    """Parse TOML text; raises `TOMLDecodeError`, a `ValueError`."""
    return tomllib.loads(text)


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
        FileFormatError: The file is missing, unreadable, not UTF-8, or not TOML.
    """
    try:
        return loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileFormatError(f"No such file: '{path}'.") from None
    except OSError as error:
        raise FileFormatError(f"Cannot read '{path}': {error.strerror}.") from error
    except UnicodeDecodeError:
        raise FileFormatError(f"'{path}' is not a TOML file: it is not UTF-8 text.") from None
    except TOMLDecodeError as error:
        raise FileFormatError(f"'{path}' is not valid TOML: {error}.") from None

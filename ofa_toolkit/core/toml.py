"""TOML from text and files: the standard library's reader, with errors that name file, line and column."""

from __future__ import annotations

import os
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


def dumps(document: dict[str, Any]) -> str:
    """Write a document of plain values as TOML."""
    import tomli_w

    return tomli_w.dumps(document)


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

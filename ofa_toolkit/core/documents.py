"""Text and JSON files of users, as their tools write them: one reader for every format.

A byte-order mark and UTF-16 (what Windows tools write) are read; whatever cannot be read is one line that
names the file.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from ofa_toolkit.core.errors import FileFormatError

DEEPEST = 64
"""Most tables and lists within each other; no format here has more than ten."""


def read_text(path: str | os.PathLike[str], *, fallback: str | None = None) -> str:
    """The text of a file in UTF-8, with or without byte-order mark, or in UTF-16 or UTF-32.

    Args:
        path: The file.
        fallback: Encoding of what is none of them, such as `cp1252` for spreadsheets of Windows.

    Raises:
        FileFormatError: The file is missing, unreadable, or no text.
    """
    content = read_bytes(path)
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if fallback is not None:
            return content.decode(fallback, errors="replace")
        line = 1 + content.count(b"\n", 0, error.start)
        raise FileFormatError(
            f"'{path}' is not {encoding.upper()} text: line {line} holds other bytes.",
            hint="Save it as UTF-8.",
        ) from None


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file.

    Raises:
        FileFormatError: The file is missing or unreadable.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise FileFormatError(f"No such file: '{path}'.") from None
    except OSError as error:
        raise FileFormatError(f"Cannot read '{path}': {error.strerror or error}.") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """The JSON document in a file.

    Raises:
        FileFormatError: As `read_text`, and where it is not JSON.
    """
    return parse_json(read_text(path), f"'{path}'")


def read_object(path: str | os.PathLike[str], what: str, *, hint: str | None = None) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: The file.
        what: Name of what it should be, for messages, such as `a subnet file`.
        hint: Advice where the file is missing.

    Raises:
        FileFormatError: As `read_json`, and where it holds something else than an object.
    """
    if hint is not None and not os.path.lexists(path):
        raise FileFormatError(f"No such file: '{path}'.", hint=hint)
    document = read_json(path)
    if not isinstance(document, dict):
        raise FileFormatError(f"'{path}' is not {what}: it holds no JSON object.")
    return document


def read_json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The JSON objects of a file that holds one a line, each with the number of its line, from 1.

    A line that holds none gives None: a damaged one, or the last one of a process that was killed.

    Raises:
        FileFormatError: The file is missing or unreadable.
    """
    for number, line in enumerate(read_bytes(path).split(b"\n"), start=1):
        if line.strip():
            try:
                found = parse_json(line, f"Line {number} of '{path}'")
            except FileFormatError:
                found = None
            yield number, found if isinstance(found, dict) else None


@contextmanager
def damage_explained(where: str) -> Iterator[None]:
    """What goes wrong with the content of a file that no schema has checked, told as its damage.

    Raises:
        FileFormatError: A value is missing, of another type, or out of range.
    """
    try:
        yield
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(f"{where} is damaged: {said}.") from error


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse JSON strictly: a key stands once in an object, and numbers are finite.

    Args:
        text: The document.
        where: Name of the document in errors.

    Raises:
        FileFormatError: It is not JSON, or nested too deeply.
    """
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite
        )
    except RecursionError:
        raise too_deep(where) from None
    except ValueError as error:
        raise FileFormatError(f"{where} is not valid JSON: {error}.") from None
    check_depth(document, where)
    return document


def check_depth(document: Any, where: str) -> None:
    """Refuse lists and tables nested beyond `DEEPEST`, which no later step would survive either.

    Raises:
        FileFormatError: They are.
    """
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [inner for value in level for inner in _inner(value)]
        if not level:
            return
    raise too_deep(where)


def check_brackets(text: str, where: str) -> None:
    """Refuse text with brackets nested beyond `DEEPEST`, on which some parsers spend minutes.

    Raises:
        FileFormatError: It has them.
    """
    steps = ((char in "[{") - (char in "]}") for char in text)
    if max(itertools.accumulate(steps), default=0) > DEEPEST:
        raise too_deep(where)


def too_deep(where: str) -> FileFormatError:
    """The error for a document nested too deeply."""
    return FileFormatError(
        f"{where} is nested too deeply: more than {DEEPEST} lists or tables in each other."
    )


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' stands twice")
    return table


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError(f"{text} is beyond all numbers that can be kept")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")

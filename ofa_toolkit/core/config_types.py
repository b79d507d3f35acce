"""From plain TOML values and command-line text to the types that configuration fields declare.

Supported: bool, int, float, str, Path, Literal, tuple[X, ...], tuple[X, Y], Mapping[str, X], nested
dataclasses, X | None, unions (of dataclasses: told apart by a `Literal` field that all of them have), and
`Annotated[X, Bounds(...)]`. Everything else is a mistake of ours and raises `TypeError`.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from ofa_toolkit.core import toml
from ofa_toolkit.core.errors import ConfigError

NONE_TEXT = "none"
"""How TOML and `--set` write a `None` (TOML has no null)."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The range of a number, for `Annotated[float, Bounds(above=0, at_most=1)]`. Ends left out are open."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        ends = (
            ("at least", self.at_least),
            ("above", self.above),
            ("at most", self.at_most),
            ("below", self.below),
        )
        return " and ".join(f"{word} {end:g}" for word, end in ends if end is not None)

    def contain(self, value: float) -> bool:
        """Whether `value` lies within the bounds."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


class Text(str):
    """A value as typed after `--set name=`: its type is decided by the field, not by its spelling."""

    __slots__ = ()


def convert(declared: Any, value: Any, path: str) -> Any:
    """Turn a plain value into the declared type, or say what is wrong with it.

    Args:
        declared: The annotation of the field.
        value: From TOML, from `Text`, or already of the declared type.
        path: Dotted name of the field, for the message.

    Raises:
        ConfigError: The value is of another type or out of range.
    """
    if isinstance(value, Text):
        return _convert_text(declared, value, path)
    origin = typing.get_origin(declared)
    if origin is Annotated:
        return _convert_annotated(declared, value, path)
    if origin in (Union, types.UnionType):
        return _convert_union(declared, value, path)
    if origin is Literal:
        return _convert_literal(declared, value, path)
    if origin is tuple:
        return _convert_tuple(declared, value, path)
    if origin in (dict, collections.abc.Mapping):
        return _convert_mapping(declared, value, path)
    if dataclasses.is_dataclass(declared) and isinstance(declared, type):
        return _convert_dataclass(declared, value, path)
    return _convert_scalar(declared, value, path)


def describe_type(declared: Any) -> str:
    """Name a declared type in words for messages and help, such as `an integer, at least 1`."""
    origin = typing.get_origin(declared)
    arguments = typing.get_args(declared)
    if origin is Annotated:
        bounds = [str(note) for note in arguments[1:] if isinstance(note, Bounds)]
        return ", ".join([describe_type(arguments[0]), *bounds])
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(argument) for argument in arguments)
    if origin is Literal:
        return "one of " + ", ".join(_show(choice) for choice in arguments)
    if origin is tuple:
        element = arguments[0] if arguments[1:] == (Ellipsis,) else None
        return f"a list, each {describe_type(element)}" if element else f"a list of {len(arguments)} values"
    if origin in (dict, collections.abc.Mapping) or dataclasses.is_dataclass(declared):
        return "a table"
    return _SCALAR_NAMES[declared]


_SCALAR_NAMES: Mapping[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    Path: "a path",
    type(None): f"'{NONE_TEXT}'",
}


def _convert_text(declared: Any, text: Text, path: str) -> Any:
    """Try the text as a TOML value first (5, true, [3, 5], "x"), then as it stands."""
    readings: list[Any] = [str(text)]
    with contextlib.suppress(toml.TOMLDecodeError):
        readings.insert(0, toml.loads(f"value = {text}\n")["value"])
    first_error: ConfigError | None = None
    for reading in readings:
        try:
            return convert(declared, reading, path)
        except ConfigError as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def _convert_annotated(declared: Any, value: Any, path: str) -> Any:
    inner, *notes = typing.get_args(declared)
    converted = convert(inner, value, path)
    for note in notes:
        if isinstance(note, Bounds) and converted is not None and not note.contain(converted):
            raise ConfigError(
                f"{path}: {_show(value)} is out of range; allowed is {describe_type(declared)}."
            )
    return converted


def _convert_union(declared: Any, value: Any, path: str) -> Any:
    members = typing.get_args(declared)
    if type(None) in members and (value is None or (value == NONE_TEXT and str not in members)):
        return None
    tables = [member for member in members if isinstance(member, type) and dataclasses.is_dataclass(member)]
    if tables and isinstance(value, (Mapping, *tables)):
        return _convert_dataclass(_pick_table(tables, value, path), value, path)
    errors: list[ConfigError] = []
    for member in members:
        if member is type(None) or member in tables:
            continue
        try:
            return convert(member, value, path)
        except ConfigError as error:
            errors.append(error)
    # With one real member its own message is the most precise (bounds, choices).
    raise errors[0] if len(errors) == 1 and not tables else _wrong_type(declared, value, path)


def _pick_table(tables: list[Any], value: Any, path: str) -> Any:
    """Choose the dataclass of a union by the `Literal` field that all members have, with distinct values."""
    if not isinstance(value, Mapping):
        return type(value)
    if len(tables) == 1:
        return tables[0]
    tags = [name for name in field_types(tables[0]) if all(_literal(table, name) for table in tables)]
    if not tags:
        raise TypeError(f"{path}: {tables} have no common Literal field to tell them apart")
    by_tag = {choice: table for table in tables for choice in _literal(table, tags[0])}
    given = value.get(tags[0])
    if given not in by_tag:
        _convert_literal(Literal[tuple(by_tag)], given, f"{path}.{tags[0]}")
    return by_tag[given]


def _literal(table: Any, name: str) -> tuple[Any, ...]:
    declared = field_types(table).get(name)
    return typing.get_args(declared) if typing.get_origin(declared) is Literal else ()


def _convert_literal(declared: Any, value: Any, path: str) -> Any:
    choices = typing.get_args(declared)
    for choice in choices:
        # 1 == True and 1 == 1.0 in Python; a choice is also its type.
        if type(choice) is type(value) and choice == value:
            return value
    close = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1, cutoff=0.5)
    raise ConfigError(
        f"{path}: {_show(value)} is not {describe_type(declared)}.",
        hint=f"Did you mean '{close[0]}'?" if close else None,
    )


def _convert_tuple(declared: Any, value: Any, path: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _wrong_type(declared, value, path, hint="A list is written [a, b, c].")
    elements = typing.get_args(declared)
    if elements[1:] == (Ellipsis,):
        elements = (elements[0],) * len(value)
    elif len(elements) != len(value):
        raise ConfigError(f"{path}: expected {describe_type(declared)}, got {len(value)}.")
    return tuple(
        convert(element, item, f"{path}[{index}]")
        for index, (element, item) in enumerate(zip(elements, value, strict=True))
    )


def _convert_mapping(declared: Any, value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong_type(declared, value, path)
    element = typing.get_args(declared)[1]
    return {str(key): convert(element, item, f"{path}.{key}") for key, item in value.items()}


def _convert_scalar(declared: Any, value: Any, path: str) -> Any:
    if declared is type(None):
        if value is None or value == NONE_TEXT:
            return None
        raise _wrong_type(declared, value, path)
    if declared not in _SCALAR_NAMES:
        raise TypeError(f"{path}: configuration fields of type {declared!r} are not supported")
    if declared is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{path}: {value} is not a finite number.")
        return float(value)
    if declared is Path and isinstance(value, (str, Path)):
        return Path(value)
    # bool is an int in Python; in a configuration it is not.
    if isinstance(value, declared) and (declared is bool) == isinstance(value, bool):
        return value
    raise _wrong_type(declared, value, path)


def _convert_dataclass(declared: Any, value: Any, path: str) -> Any:
    if isinstance(value, declared):
        return value
    if not isinstance(value, Mapping):
        raise _wrong_type(declared, value, path)
    known = field_types(declared)
    for key in value:
        if key not in known:
            raise _unknown_key(str(key), known, path)
    converted = {key: convert(known[key], item, _join(path, key)) for key, item in value.items()}
    for field in dataclasses.fields(declared):
        if field.init and field.name not in converted and _is_required(field):
            raise ConfigError(
                f"{_join(path, field.name)}: missing; expected {describe_type(known[field.name])}."
            )
    try:
        return declared(**converted)
    except ConfigError as error:
        # Raised by the dataclass's own `__post_init__`, which knows its fields but not where it sits.
        raise ConfigError(_join(path, error.message), hint=error.hint) from error


def field_types(declared: Any) -> dict[str, Any]:
    """The fields of a dataclass that a configuration may set, with their annotations."""
    hints = typing.get_type_hints(declared, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(declared) if field.init}


def _unknown_key(key: str, known: Mapping[str, Any], path: str) -> ConfigError:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return ConfigError(
        f"Unknown setting '{_join(path, key)}'. Known here: {', '.join(known) or 'none'}.",
        hint=f"Did you mean '{_join(path, close[0])}'?" if close else None,
    )


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _wrong_type(declared: Any, value: Any, path: str, hint: str | None = None) -> ConfigError:
    where = path or "The configuration"
    return ConfigError(f"{where}: expected {describe_type(declared)}, got {_show(value)}.", hint=hint)


def _show(value: Any) -> str:
    shown: Callable[[Any], str] = {bool: lambda v: str(v).lower(), str: lambda v: f"'{v}'"}.get(
        type(value), repr
    )
    text = shown(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

"""Configuration: frozen, keyword-only dataclasses to and from TOML, with `--set a.b=c` on top.

A configuration class is an ordinary dataclass. Each field is followed by one sentence, its help text
(unit, allowed values), and may carry `Annotated[int, Bounds(at_least=1)]`; rules between fields go into
`__post_init__`, raising `ConfigError("<field>: <what is wrong>")`:

    @dataclass(frozen=True, kw_only=True)
    class ScheduleConfig:
        epochs: Annotated[int, Bounds(at_least=1)] = 120
        "Number of passes over the training images."

A key that is unknown, a value of another type or out of range is an error with its dotted path; nothing
is ignored or clamped.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import os
import sys
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ofa_toolkit.core import files, toml
from ofa_toolkit.core.config_types import NONE_TEXT, Bounds, Text, convert, describe_type, field_types
from ofa_toolkit.core.errors import ConfigError, FileFormatError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    C = TypeVar("C", bound=DataclassInstance)
else:
    C = TypeVar("C")

__all__ = [
    "Bounds",
    "FieldInfo",
    "apply_overrides",
    "check",
    "describe",
    "dump_toml",
    "dumps_toml",
    "field_help",
    "from_dict",
    "load_toml",
    "to_dict",
]


def from_dict(config_class: type[C], values: Mapping[str, Any], *, source: str | None = None) -> C:
    """Build a configuration from nested plain values.

    Args:
        config_class: A dataclass.
        values: As read from TOML, possibly with `apply_overrides` on top.
        source: Where the values come from, put in front of messages; a file name.

    Raises:
        ConfigError: An unknown key, a missing one, a wrong type or a bad value; names the dotted path.
    """
    try:
        return typing.cast(C, convert(config_class, values, ""))
    except ConfigError as error:
        if source is None:
            raise
        raise ConfigError(f"{source}: {error.message}", hint=error.hint) from error


def to_dict(config: DataclassInstance) -> dict[str, Any]:
    """Turn a configuration into nested plain values that TOML and JSON can hold; undoes `from_dict`.

    A `None` that is the field's default is left out; any other becomes the text `none`. A field whose
    metadata says `is_later` is left out at its default, so that documents from before it stay as they were.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not field.init or (value is None and field.default is None):
            continue
        if field.metadata.get("is_later") and value == field.default:
            continue
        values[field.name] = _plain(value)
    return values


def check(config: C) -> C:
    """Check types and bounds of a configuration that was built in Python; returns it.

    Raises:
        ConfigError: As `from_dict`.
    """
    return from_dict(type(config), to_dict(config))


def load_toml(config_class: type[C], path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> C:
    """Read a configuration from a TOML file, with `--set` overrides on top.

    Raises:
        ConfigError: The file cannot be read or parsed, or holds a bad setting.
    """
    try:
        values = toml.load(path)
    except FileFormatError as error:
        raise ConfigError(error.message, hint=error.hint) from error
    return from_dict(config_class, apply_overrides(values, overrides), source=str(path))


def dumps_toml(config: DataclassInstance) -> str:
    """Write a configuration as TOML text; `load_toml` gives back an equal one."""
    return toml.dumps(to_dict(config))


def dump_toml(config: DataclassInstance, path: str | os.PathLike[str]) -> None:
    """Write a configuration to a TOML file, atomically."""
    files.write_text(path, dumps_toml(config))


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Lay `a.b=c` settings over nested values; later ones win. `values` is left as it is.

    The text after `=` gets its type from the field when `from_dict` reads it: `5` for a text field is the
    text `5`. It may be written as in TOML (`[3, 5]`, `true`, `"a b"`) or bare; `none` unsets an optional.

    Raises:
        ConfigError: An override is not of the form `name=value`, or goes through a value that is no table.
    """
    result = _copy(values)
    for override in overrides:
        name, equals, text = override.partition("=")
        keys = name.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set '{override}' is not of the form name=value.")
        table = result
        for depth, key in enumerate(keys[:-1]):
            inner = table.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set '{override}': '{'.'.join(keys[: depth + 1])}' is not a table.")
            table = inner
        table[keys[-1]] = Text(text.strip())
    return result


@dataclass(frozen=True, kw_only=True)
class FieldInfo:
    """What help and documentation say about one setting."""

    path: str
    """Dotted name, as `--set` takes it."""
    type_name: str
    """The type and allowed values in words."""
    default: str | None
    """As TOML writes it; None when the setting is required."""
    help: str
    """The sentence after the field."""


def describe(config_class: type[DataclassInstance], prefix: str = "") -> tuple[FieldInfo, ...]:
    """List every setting of a configuration class, nested ones with dotted paths, in order."""
    infos: list[FieldInfo] = []
    helps = field_help(config_class)
    declared = field_types(config_class)
    for field in dataclasses.fields(config_class):
        if not field.init:
            continue
        path = f"{prefix}{field.name}"
        if isinstance(declared[field.name], type) and dataclasses.is_dataclass(declared[field.name]):
            infos.extend(describe(declared[field.name], f"{path}."))
            continue
        infos.append(
            FieldInfo(
                path=path,
                type_name=describe_type(declared[field.name]),
                default=_default_text(field),
                help=helps.get(field.name, ""),
            )
        )
    return tuple(infos)


@functools.cache
def field_help(config_class: type) -> Mapping[str, str]:
    """The sentence that follows each field in the class's source, inherited ones included."""
    helps: dict[str, str] = {}
    for base in reversed(config_class.__mro__):
        if not (dataclasses.is_dataclass(base) or typing.is_typeddict(base)):
            continue
        body = _definition(base).body
        for statement, following in itertools.pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                text = _string(following)
                if text is not None:
                    helps[statement.target.id] = " ".join(text.split())
    return helps


def _definition(written: type) -> ast.ClassDef:
    """Where a class stands in its module; `inspect.getsource` would cut it out token by token."""
    scope: ast.AST = _module(written.__module__)
    for name in written.__qualname__.replace("<locals>.", "").split("."):
        scope = next(node for node in ast.walk(scope) if getattr(node, "name", None) == name)
    assert isinstance(scope, ast.ClassDef)
    return scope


@functools.cache
def _module(name: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[name]))


def _string(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        value = statement.value.value
        return value if isinstance(value, str) else None
    return None


def _default_text(field: dataclasses.Field[Any]) -> str | None:
    if field.default is not dataclasses.MISSING:
        default = field.default
    elif field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    else:
        return None
    if default is None:
        return NONE_TEXT
    return toml.dumps({"x": _plain(default)}).removeprefix("x = ").strip()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    return NONE_TEXT if value is None else value


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}

"""JSON schemas of our files, for editors and other programs, made from the classes that describe them.

A file that is read into a configuration is described by its data class, one that is written as plain values
by a `TypedDict`, against which the type checker holds what writes it.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from typing_extensions import NotRequired

from ofa_toolkit.core.config import field_help, to_dict
from ofa_toolkit.core.config_types import NONE_TEXT, Bounds, field_types

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from ofa_toolkit.core.file_format import FileFormat

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Mapping[Any, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Path: "string",
}
_LIMITS = {
    "at_least": "minimum",
    "above": "exclusiveMinimum",
    "at_most": "maximum",
    "below": "exclusiveMaximum",
}


def json_schema(
    config_class: type[DataclassInstance], title: str, **members: tuple[type[DataclassInstance], ...]
) -> Schema:
    """The schema of files that hold a configuration: all its settings, their ranges, and no others.

    Rules between settings are not in it; reading a file checks them too.

    Args:
        config_class: The class.
        title: Name of the format.
        **members: By the name of a field that is declared as a base class: the classes it may be of.
    """
    schemas = _Schemas({"enum": [None, NONE_TEXT]})  # TOML has no null
    schema = schemas.of_dataclass(config_class)
    for name, choices in members.items():
        schema["properties"][name] = {"anyOf": [schemas.of_dataclass(choice) for choice in choices]}
    return schemas.whole(title, schema)


def document_schema(
    file_format: FileFormat, content: Any, kinds: Mapping[Any, Iterable[Any]] = MappingProxyType({})
) -> Schema:
    """The schema of a document of ours that is written as plain values.

    Args:
        file_format: Gives the entries `format` and `version`.
        content: `TypedDict` of the other entries.
        kinds: By a `TypedDict` that stands for others: those.
    """
    schemas = _Schemas({"type": "null"}, kinds)
    header = {name: {"const": value} for name, value in file_format.header.items()}
    schema = schemas.of_typed_dict(content)
    schema |= {
        "properties": {**header, **schema["properties"]},
        "required": [*header, *schema["required"]],
    }
    return schemas.whole(f"{file_format.name}, version {file_format.version}", schema)


def line_schema(title: str, line: Any) -> Schema:
    """The schema of each line of a journal.

    Args:
        title: Name of the format.
        line: Union of the `TypedDict`s of its kinds of lines.
    """
    schemas = _Schemas({"type": "null"})
    return schemas.whole(title, schemas.of(line))


class _Schemas:
    """Schemas of declared types; those of `TypedDict`s, which may hold themselves, stand once, by name.

    Args:
        null: That of no value.
        kinds: By a `TypedDict` that stands for others: those.
    """

    def __init__(self, null: Schema, kinds: Mapping[Any, Iterable[Any]] = MappingProxyType({})) -> None:
        self._null = null
        self._kinds = kinds
        self._named: dict[str, Schema] = {}

    def whole(self, title: str, schema: Schema) -> Schema:
        """The schema of a file, with everything it refers to."""
        named = {"$defs": self._named} if self._named else {}
        return {"$schema": _DIALECT, "title": title, **schema, **named}

    def of_dataclass(self, config_class: type[DataclassInstance]) -> Schema:
        """Of a table of settings, each with its help and its default."""
        helps, declared = field_help(config_class), field_types(config_class)
        properties: dict[str, Schema] = {}
        required = []
        for field in dataclasses.fields(config_class):
            if not field.init:
                continue
            schema = self.of(declared[field.name])
            if help_text := helps.get(field.name):
                schema = {"description": help_text, **schema}
            if field.default is not dataclasses.MISSING:
                schema["default"] = _plain_default(field.default)
            elif field.default_factory is dataclasses.MISSING:
                required.append(field.name)
            properties[field.name] = schema
        return _object(properties, required)

    def of_typed_dict(self, declared: Any) -> Schema:
        """Of the entries of a document."""
        helps = field_help(declared)
        properties: dict[str, Schema] = {}
        required = []
        for name, hint in typing.get_type_hints(declared, include_extras=True).items():
            # Python knows of `total=False` only: the annotations are strings while the class is made.
            is_marked = typing.get_origin(hint) is NotRequired
            if name in declared.__required_keys__ and not is_marked:
                required.append(name)
            schema = self.of(typing.get_args(hint)[0] if is_marked else hint)
            properties[name] = {"description": helps[name], **schema} if name in helps else schema
        return _object(properties, required)

    def of(self, declared: Any) -> Schema:
        """Of a value."""
        origin, arguments = typing.get_origin(declared), typing.get_args(declared)
        if origin is Annotated:
            return _bounded(self.of(arguments[0]), arguments[1:])
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(argument) for argument in arguments]}
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is tuple and arguments[1:] != (Ellipsis,):
            items = [self.of(each) for each in arguments]
            return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
        if origin in (tuple, list):
            return {"type": "array", "items": self.of(arguments[0])}
        if origin in (dict, collections.abc.Mapping):
            names = {"propertyNames": self.of(arguments[0])} if typing.get_args(arguments[0]) else {}
            return {"type": "object", "additionalProperties": self.of(arguments[1]), **names}
        if typing.is_typeddict(declared):
            return self._reference(declared)
        if dataclasses.is_dataclass(declared) and isinstance(declared, type):
            return self.of_dataclass(declared)
        if declared is type(None):
            return self._null
        return {} if declared is Any else {"type": _SCALARS[declared]}

    def _reference(self, declared: type) -> Schema:
        name = declared.__name__
        if name not in self._named:
            self._named[name] = {}  # stands for it while what it holds is described
            if declared in self._kinds:
                self._named[name] = {"anyOf": [self.of(kind) for kind in self._kinds[declared]]}
            else:
                self._named[name] = self.of_typed_dict(declared)
        return {"$ref": f"#/$defs/{name}"}


def _object(properties: Schema, required: list[str]) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": required} if required else {}),
    }


def _bounded(schema: Schema, notes: tuple[Any, ...]) -> Schema:
    limits = {
        _LIMITS[name]: value
        for note in notes
        if isinstance(note, Bounds)
        for name, value in vars(note).items()
        if value is not None
    }
    return {**schema, **limits}


def _plain_default(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    return list(value) if isinstance(value, tuple) else value

"""JSON schemas of configuration classes, for editors and other programs, made from the classes themselves."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from ofa_toolkit.core.config import field_help, to_dict
from ofa_toolkit.core.config_types import NONE_TEXT, Bounds, field_types

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

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
    schema = _table(config_class)
    for name, choices in members.items():
        schema["properties"][name] = {"anyOf": [_table(choice) for choice in choices]}
    return {"$schema": _DIALECT, "title": title, **schema}


def _table(config_class: type[DataclassInstance]) -> Schema:
    helps, declared = field_help(config_class), field_types(config_class)
    properties: dict[str, Schema] = {}
    required = []
    for field in dataclasses.fields(config_class):
        if not field.init:
            continue
        schema = _of(declared[field.name])
        if help_text := helps.get(field.name):
            schema = {"description": help_text, **schema}
        if field.default is not dataclasses.MISSING:
            schema["default"] = _plain_default(field.default)
        elif field.default_factory is dataclasses.MISSING:
            required.append(field.name)
        properties[field.name] = schema
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": required} if required else {}),
    }


def _of(declared: Any) -> Schema:
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin is Annotated:
        return _bounded(_of(arguments[0]), arguments[1:])
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(argument) for argument in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        if arguments[1:] == (Ellipsis,):
            return {"type": "array", "items": _of(arguments[0])}
        items = [_of(each) for each in arguments]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin in (dict, collections.abc.Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1])}
    if dataclasses.is_dataclass(declared) and isinstance(declared, type):
        return _table(declared)
    if declared is type(None):
        return {"enum": [None, NONE_TEXT]}
    return {"type": _SCALARS[declared]}


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

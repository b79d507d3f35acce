"""Options made from the fields of a request, so that a parameter is written and explained once."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from ofa_tk.options import InputPath, Quantity
from ofa_toolkit.core.config import Bounds, field_help
from ofa_toolkit.core.config_types import field_types
from ofa_toolkit.core.requests import Option

F = TypeVar("F", bound=Callable[..., Any])
Note = TypeVar("Note")


def request_options(request: type, *, leave_out: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Give a command the options of a request's fields; it gets the request itself as `request`.

    Args:
        request: A dataclass with an `Option` at those of its fields that are options.
        leave_out: Fields that are no options of this command; they keep their defaults.
    """
    helps, declared = field_help(request), field_types(request)
    fields = [
        field
        for field in dataclasses.fields(request)
        if field.name not in leave_out and _note(declared[field.name], Option) is not None
    ]

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = {field.name: kwargs.pop(field.name) for field in fields}
            # What was not given takes the field's default, also where click has an empty tuple.
            values = {name: value for name, value in given.items() if value not in (None, (), {})}
            return function(*args, request=request(**values), **kwargs)

        for field in reversed(fields):
            call = _option(field, declared[field.name], helps[field.name])(call)
        return typing.cast(F, call)

    return decorate


def _option(field: dataclasses.Field[Any], declared: Any, help_text: str) -> Callable[[Any], Any]:
    option, plain = _note(declared, Option), _without_none(typing.get_args(declared)[0])
    assert option is not None
    is_required = field.default is field.default_factory is dataclasses.MISSING
    # Not by equality: 0 is a default worth showing.
    has_default = not any(field.default is nothing for nothing in (None, (), False, dataclasses.MISSING))
    is_mapping = typing.get_origin(plain) in (dict, Mapping, typing.get_origin(Mapping[str, int]))
    return click.option(
        option.name or f"--{field.name.replace('_', '-')}",
        field.name,
        type=_NameAndNumbers(plain) if is_mapping else _type(option, plain, _note(declared, Bounds)),
        is_flag=plain is bool,
        multiple=option.is_repeatable,
        metavar=option.metavar,
        required=is_required,
        default=field.default if has_default else None,
        show_default=has_default,
        callback=(lambda _context, _parameter, pairs: dict(pairs)) if is_mapping else None,
        help=help_text + (" Repeatable." if option.is_repeatable else ""),
    )


def _type(option: Option, plain: Any, bounds: Bounds | None) -> Any:
    if option.quantity is not None:
        return Quantity(option.quantity)
    if option.path is not None:
        is_folder = option.path == "folder"
        return InputPath(file_okay=False) if is_folder else click.Path(dir_okay=False, path_type=Path)
    if typing.get_origin(plain) is Literal:
        return click.Choice(typing.get_args(plain))
    if plain is int and bounds is not None:
        return click.IntRange(bounds.at_least, bounds.at_most)  # type: ignore[arg-type]
    if plain is float and bounds is not None:
        least, is_open = (bounds.at_least, False) if bounds.above is None else (bounds.above, True)
        most, is_below = (bounds.at_most, False) if bounds.below is None else (bounds.below, True)
        return click.FloatRange(least, most, min_open=is_open, max_open=is_below)
    return plain if plain in (bool, int, float) else str


class _NameAndNumbers(click.ParamType[tuple[str, Any]]):
    """`name=value`, or `name=value,value` where the mapping holds several values a name."""

    name = "choice"

    def __init__(self, mapping: Any) -> None:
        self._is_single = typing.get_args(mapping)[1] is float

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """Split and read the numbers."""
        name, equals, numbers = str(value).partition("=")
        try:
            parsed = tuple(float(number) for number in numbers.split(","))
        except ValueError:
            parsed = ()
        if not equals or not parsed or (self._is_single and len(parsed) > 1):
            self.fail(f"'{value}' is not NAME=VALUE, such as resolution=160.", param, ctx)
        return name.replace("-", "_"), parsed[0] if self._is_single else parsed


def _note(declared: Any, kind: type[Note]) -> Note | None:
    """What an annotation carries of a kind."""
    notes = getattr(declared, "__metadata__", ())
    return next((note for note in notes if isinstance(note, kind)), None)


def _without_none(declared: Any) -> Any:
    """`X` of `X | None`."""
    if typing.get_origin(declared) not in (typing.Union, types.UnionType):
        return declared
    members = [member for member in typing.get_args(declared) if member is not type(None)]
    return members[0] if len(members) == 1 else declared

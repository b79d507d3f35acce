"""Options made from the fields of a request, so that a parameter is written and explained once."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from ofa_tk.options import InputPath, Quantity
from ofa_toolkit.core.config import Bounds, field_help
from ofa_toolkit.core.config_types import field_types
from ofa_toolkit.core.requests import Option

F = TypeVar("F", bound=Callable[..., Any])
Note = TypeVar("Note")


def request_options(
    request: type, *, leave_out: tuple[str, ...] = (), as_name: str = "request"
) -> Callable[[F], F]:
    """Give a command the options of a request's fields; it gets the request itself as `request`.

    Args:
        request: A dataclass with an `Option` at those of its fields that are options.
        leave_out: Fields that are no options of this command; they keep their defaults.
        as_name: Another name to pass the request by.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            made = _built(request, leave_out, kwargs)
            return function(*args, **{as_name: made}, **kwargs)

        for option in reversed(list(_options(request, leave_out))):
            call = option(call)
        return typing.cast(F, call)

    return decorate


def _options(request: type, leave_out: tuple[str, ...]) -> Iterator[Callable[[Any], Any]]:
    declared = field_types(request)
    for field in dataclasses.fields(request):
        if field.name in leave_out:
            continue
        if _note(declared[field.name], Option) is not None:
            yield _option(request, field, declared[field.name])
        elif _is_nested(declared[field.name]):
            yield from _options(declared[field.name], leave_out)


def _built(request: type, leave_out: tuple[str, ...], given: dict[str, Any]) -> Any:
    """The request of what was given, which is taken out of `given`."""
    declared, values = field_types(request), {}
    for field in dataclasses.fields(request):
        if field.name in leave_out:
            continue
        if _note(declared[field.name], Option) is not None:
            value = given.pop(field.name)
            # What was not given takes the field's default, also where click has an empty tuple.
            if value not in (None, (), {}):
                values[field.name] = value
        elif _is_nested(declared[field.name]):
            values[field.name] = _built(declared[field.name], leave_out, given)
    return request(**values)


def _is_nested(declared: Any) -> bool:
    """Whether it is a dataclass with options of its own."""
    return (
        isinstance(declared, type)
        and dataclasses.is_dataclass(declared)
        and any(_note(inner, Option) is not None for inner in field_types(declared).values())
    )


class _FieldOption(click.Option):
    """An option whose help is looked up when it is shown: reading the request's source takes a while."""

    def __init__(self, *args: Any, request: type, **kwargs: Any) -> None:
        self._request = request
        super().__init__(*args, **kwargs)

    def _shown(self) -> str:
        assert self.name is not None
        return field_help(self._request)[self.name] + (" Repeatable." if self.multiple else "")

    # Click sets what it was given, which is nothing.
    help = property(_shown, lambda _self, _text: None)


def _option(request: type, field: dataclasses.Field[Any], declared: Any) -> Callable[[Any], Any]:
    option, plain = _note(declared, Option), _without_none(typing.get_args(declared)[0])
    assert option is not None
    is_required = field.default is field.default_factory is dataclasses.MISSING
    is_mapping = typing.get_origin(plain) in (dict, Mapping, typing.get_origin(Mapping[str, int]))
    kind = _NameAndNumbers(plain) if is_mapping else _type(option, plain, _note(declared, Bounds))
    if option.is_argument:
        count = -1 if option.is_repeatable else 1
        return click.argument(
            field.name, type=kind, nargs=count, required=is_required, metavar=option.metavar
        )
    # Not by equality: 0 is a default worth showing.
    has_default = not any(field.default is nothing for nothing in (None, (), False, dataclasses.MISSING))
    # A default of None, written down, would be a value for an option that is required.
    default: dict[str, Any] = {"default": field.default, "show_default": True} if has_default else {}
    return click.option(
        *(option.name or f"--{field.name.replace('_', '-')}").split(),
        field.name,
        cls=_FieldOption,
        request=request,
        type=kind,
        is_flag=plain is bool,
        multiple=option.is_repeatable,
        metavar=option.metavar,
        required=is_required,
        **default,
        callback=(lambda _context, _parameter, pairs: dict(pairs)) if is_mapping else None,
    )


def _type(option: Option, plain: Any, bounds: Bounds | None) -> Any:
    if option.quantity is not None:
        return Quantity(option.quantity)
    if option.path is not None:
        is_file, is_folder = not option.path.endswith("folder"), not option.path.endswith("file")
        if option.path.startswith("input"):
            return InputPath(file_okay=is_file, dir_okay=is_folder)
        return click.Path(file_okay=is_file, dir_okay=is_folder, path_type=Path)
    origin, arguments = typing.get_origin(plain), typing.get_args(plain)
    if origin in (tuple, Sequence):
        element = arguments[0]
        return _type(option, element, bounds) if option.is_repeatable else _Numbers(element)
    if origin is Literal:
        return click.Choice(arguments)
    if plain is int and bounds is not None:
        return click.IntRange(bounds.at_least, bounds.at_most)  # type: ignore[arg-type]
    if plain is float and bounds is not None:
        least, is_open = (bounds.at_least, False) if bounds.above is None else (bounds.above, True)
        most, is_below = (bounds.at_most, False) if bounds.below is None else (bounds.below, True)
        return click.FloatRange(least, most, min_open=is_open, max_open=is_below)
    if plain is Path:
        return click.Path(path_type=Path)
    return plain if plain in (bool, int, float) else str


class _Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers separated by commas."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Split and read them."""
        try:
            return tuple(self._kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is no list of numbers; write them like 160,192.", param, ctx)


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

"""Requests: dataclasses whose fields are the parameters of a Python function and the options of a command.

Each field is followed by one sentence, its help text. A field that is an option too carries
`Annotated[..., Option(...)]`; what its type does not say stands there. A field that is itself such a
dataclass gives a command its options too.

    @dataclass(frozen=True, kw_only=True)
    class BoilRequest:
        minutes: Annotated[int, Bounds(at_least=1), Option()] = 4
        "How long."

    @with_fields_of(BoilRequest)
    def boil(request: BoilRequest) -> Egg: ...

    boil(minutes=5)
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, ParamSpec, TypeVar

from ofa_toolkit.core.config import Bounds, field_help
from ofa_toolkit.core.quantities import QuantityKind

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

P = ParamSpec("P")
Request = TypeVar("Request", bound="DataclassInstance")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Option:
    """How a field is written on the command line, beside what its name and type say.

    Attributes:
        name: Another name, such as `--max`, or several with spaces between them.
        metavar: What stands for the value in the help.
        quantity: The kind of number with a unit that is taken.
        path: What a path leads to; an `input` has to be there.
        is_repeatable: Whether the option may be given several times.
        is_argument: Whether it is given by its position alone.
    """

    name: str | None = None
    metavar: str | None = None
    quantity: QuantityKind | None = None
    path: Literal["file", "folder", "input", "input file", "input folder"] | None = None
    is_repeatable: bool = False
    is_argument: bool = False


Flag = Annotated[bool, Option()]
Positive = Annotated[int, Bounds(at_least=1), Option()]
Seed = Annotated[int, Bounds(at_least=0), Option()]

_REQUEST = "_request"


def with_fields_of(
    request: Callable[P, Request],
) -> Callable[[Callable[[Request], Result]], Callable[P, Result]]:
    """Give a function of a request the request's fields as its parameters; `describe` adds their help."""

    def decorate(function: Callable[[Request], Result]) -> Callable[P, Result]:
        assert isinstance(request, type)
        known = [field.name for field in dataclasses.fields(request)]

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Result:
            for name in kwargs:
                if name not in known:
                    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                    hint = f"Did you mean '{close[0]}'?" if close else f"It takes {', '.join(known)}."
                    raise TypeError(f"{function.__name__}() has no parameter '{name}'. {hint}")
            return function(request(*args, **kwargs))

        returned = inspect.signature(function).return_annotation
        call.__dict__["__signature__"] = inspect.signature(request).replace(return_annotation=returned)
        call.__dict__[_REQUEST] = request
        return call

    return decorate


def describe(function: Callable[..., object]) -> None:
    """Write the fields' help and types into a function of `with_fields_of`; others stay as they are.

    It reads the request's source, which takes longer than all else at an import, and only people look at it.
    """
    request = getattr(function, _REQUEST, None)
    if request is None:
        return
    signature, helps = inspect.signature(function), field_help(request)
    arguments = "".join(f"    {name}: {helps[name]}\n" for name in signature.parameters if name in helps)
    function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nArgs:\n{arguments}"
    types = typing.get_type_hints(request)
    parameters = [each.replace(annotation=types[each.name]) for each in signature.parameters.values()]
    function.__dict__["__signature__"] = signature.replace(parameters=parameters)

"""One request is a function's parameters and a command's options: names, types, defaults and help."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import click
import pytest
from click.testing import CliRunner

from ofa_tk.request_options import request_options
from ofa_toolkit.core import quantities
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.requests import Option, describe, with_fields_of


@dataclass(frozen=True, kw_only=True)
class Stove:
    """What it stands on."""

    power: Annotated[int, Bounds(at_least=1), Option(name="--heat --power")] = 5
    "Of the stove."
    gas: bool = False
    "Python only."


@dataclass(frozen=True)
class Boil:
    """How to boil an egg."""

    egg: Annotated[str | None, Option(metavar="NAME")] = None
    "Which egg."
    _: KW_ONLY
    minutes: Annotated[int, Bounds(at_least=1), Option()] = 4
    "How long."
    salt: Annotated[float | None, Bounds(above=0, below=1), Option(metavar="SHARE")] = None
    "How salty."
    limit: Annotated[str | float | None, Option(quantity=quantities.LATENCY)] = None
    "At most."
    size: Annotated[Literal["S", "M"], Option()] = "M"
    "Which size."
    soft: Annotated[bool, Option()] = False
    "Stay soft."
    pots: Annotated[tuple[Path, ...], Option(path="input folder", is_repeatable=True)] = ()
    "Where."
    most: Annotated[Mapping[str, float], Option(name="--max", is_repeatable=True)] = field(
        default_factory=dict
    )
    "Largest values."
    any_of: Annotated[Mapping[str, float | tuple[float, ...]], Option(is_repeatable=True)] = field(
        default_factory=dict
    )
    "Allowed values."
    seed: Annotated[int, Option()] = 0
    "Start."
    stove: Stove = field(default_factory=Stove)
    "Where it stands."
    turns: Annotated[tuple[int, ...], Option(metavar="LIST")] = ()
    "When to turn it."
    guests: Annotated[tuple[str, ...], Option(is_argument=True, is_repeatable=True)] = ()
    "Who eats it."
    cook: object = None
    "Python only."


@with_fields_of(Boil)
def boil(request: Boil) -> Boil:
    """Boil an egg."""
    return request


def typed(*arguments: str) -> Boil | str:
    """The request of a command line, or what click says against it."""
    got: list[Boil] = []
    result = CliRunner().invoke(command_of_boil(got), arguments)
    return got[0] if result.exit_code == 0 and got else result.output


def command_of_boil(got: list[Boil] | None = None) -> click.Command:
    @click.command()
    @request_options(Boil)
    @click.option("--loud", is_flag=True)
    def command(request: Boil, loud: bool) -> None:
        if got is not None:
            got.append(request)

    return command


def test_a_folder_that_is_missing_is_no_wrong_usage() -> None:
    with pytest.raises(FileFormatError, match="No such folder: 'nowhere'"):
        CliRunner().invoke(command_of_boil(), ["--pots", "nowhere"], catch_exceptions=False)


def test_the_function_takes_the_fields() -> None:
    assert boil("big", minutes=5) == Boil("big", minutes=5)
    assert list(inspect.signature(boil).parameters) == [each.name for each in dataclasses.fields(Boil)]
    describe(boil)
    parameters = inspect.signature(boil).parameters
    assert list(parameters) == [each.name for each in dataclasses.fields(Boil)]
    assert parameters["minutes"].kind is inspect.Parameter.KEYWORD_ONLY
    assert (parameters["minutes"].annotation, parameters["minutes"].default) == (int, 4)
    assert "minutes: How long." in str(boil.__doc__)
    with pytest.raises(TypeError, match=r"boil\(\) has no parameter 'minuts'. Did you mean 'minutes'\?"):
        boil(minuts=5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), Boil()),
        (("--egg", "x", "--minutes", "9", "--seed", "0", "--loud"), Boil("x", minutes=9)),
        (("--salt", "0.5", "--limit", "2s"), Boil(salt=0.5, limit=2000.0)),
        (("--size", "S", "--soft"), Boil(size="S", soft=True)),
        (("--pots", ".", "--pots", ".."), Boil(pots=(Path(), Path("..")))),
        (("--max", "a=3", "--max", "b=4"), Boil(most={"a": 3.0, "b": 4.0})),
        (("--any-of", "kernel-size=3,5"), Boil(any_of={"kernel_size": (3.0, 5.0)})),
        (("--heat", "3"), Boil(stove=Stove(power=3))),
        (("--power", "3", "--turns", "1,2"), Boil(stove=Stove(power=3), turns=(1, 2))),
        (("Ada", "Bo"), Boil(guests=("Ada", "Bo"))),
    ],
)
def test_the_options_give_the_same_request(arguments: tuple[str, ...], expected: Boil) -> None:
    assert typed(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--minutes", "0"), "x>=1"),
        (("--salt", "1"), "0<x<1"),
        (("--limit", "2"), "has no unit"),
        (("--size", "L"), "'S', 'M'"),
        (("--max", "a=3,4"), "is not NAME=VALUE"),
        (("--any-of", "a"), "is not NAME=VALUE"),
        (("--turns", "1,x"), "is no list of numbers"),
        (("--heat", "0"), "x>=1"),
        (("--cook", "x"), "No such option"),
        (("--gas",), "No such option"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple[str, ...], message: str) -> None:
    answer = typed(*arguments)
    assert isinstance(answer, str)
    assert message in answer


def test_help_is_that_of_the_fields() -> None:
    answer = typed("--help")
    assert isinstance(answer, str)
    text = " ".join(answer.split())
    assert "--minutes INTEGER RANGE How long. [default: 4; x>=1]" in text
    assert "--seed INTEGER Start. [default: 0]" in text
    assert "Where. Repeatable." in text

"""Options that several commands share, so that they are spelled and explained alike everywhere."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import FileFormatError, QuantityError
from ofa_toolkit.core.quantities import QuantityKind

F = TypeVar("F", bound=Callable[..., Any])


class Quantity(click.ParamType[float]):
    """A number with its unit, such as `20ms`; the command receives it in the kind's base unit.

    Args:
        kind: What is counted.
    """

    def __init__(self, kind: QuantityKind) -> None:
        self.name = kind.name
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse text; defaults that are numbers already pass."""
        if isinstance(value, (int, float)):
            return float(value)
        try:
            return self._kind.parse(value)
        except QuantityError as error:
            raise click.BadParameter(f"{error.message} {error.hint or ''}".strip(), ctx, param) from None


class InputPath(click.Path):
    """A file or folder that is read; one that is not there is an error of ours, as it is in Python.

    Args:
        file_okay: Whether it may be a file.
        dir_okay: Whether it may be a folder.
    """

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(exists=True, file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Look for it."""
        if not os.path.lexists(value):
            what = "file" if not self.dir_okay else "file or folder" if self.file_okay else "folder"
            raise FileFormatError(f"No such {what}: '{value}'.")
        return super().convert(value, param, ctx)


def json_option(function: F) -> F:
    """`--json`: print the result as one JSON document (`as_json`)."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(
        function
    )


def force_option(function: F) -> F:
    """`--force`: overwrite an existing output (`force`)."""
    return click.option(
        "--force", is_flag=True, help="Replace an existing file, or what a former run wrote into a folder."
    )(function)


def resume_option(function: F) -> F:
    """`--resume` and `--resume auto`: go on with the run in `--out` (`resume`: False, True or "auto")."""
    return click.option(
        "--resume",
        is_flag=False,
        flag_value="on",
        default=None,
        type=click.Choice(["auto", "on"]),
        metavar="[auto]",
        callback=lambda _ctx, _param, value: {None: False, "on": True, "auto": "auto"}[value],
        help="Go on from the last checkpoint in --out; with auto: where there is one, else start.",
    )(function)


def seed_option(function: F) -> F:
    """`--seed`: start of all random streams (`seed`, default 0)."""
    return click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Start of all random streams.",
    )(function)


def threads_option(function: F) -> F:
    """`--threads`: CPU threads of PyTorch (`threads`)."""
    return click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: all cores.")(
        function
    )


def set_option(function: F) -> F:
    """`--set a.b=c`, repeatable: change one setting of a recipe (`overrides`, a tuple of texts)."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="NAME=VALUE",
        help="Change one setting by its dotted name. Repeatable.",
    )(function)


def tables_option(function: F) -> F:
    """`--tables`, repeatable: further folders of latency tables (`tables`, a tuple of paths)."""
    return click.option(
        "--tables",
        multiple=True,
        type=InputPath(file_okay=False),
        metavar="DIR",
        help="A further folder of latency tables. Repeatable.",
    )(function)


def space_option(help_text: str, *, required: bool = False) -> Callable[[F], F]:
    """`--space`: a search space by name, or a user's own in a TOML file (`space`, a text)."""
    return click.option("--space", required=required, metavar="NAME|FILE.toml", help=help_text)


def subnet_option(help_text: str) -> Callable[[F], F]:
    """`--subnet`: the subnet file a command works on (`subnet`), by default what `ofa-tk search` writes."""
    return click.option(
        "--subnet",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"{help_text}  [default: subnet.json, or the only network of --supernet]",
    )


def resolution_option(function: F) -> F:
    """`--resolution`: the input size of a network, in place of what its file says (`resolution`)."""
    return click.option(
        "--resolution",
        type=click.IntRange(1, 4096),
        metavar="PIXELS",
        help="Input size.  [default: what the file says]",
    )(function)


def supernet_option(function: F) -> F:
    """`--supernet`: where a subnet's weights come from (`supernet`)."""
    return click.option(
        "--supernet", metavar="NAME|DIR", help="Where its weights are. Default: the supernet searched."
    )(function)


def offline_option(function: F) -> F:
    """`--offline`, of commands that fetch the weights of a zoo entry where they are not here."""
    return click.option(
        "--offline",
        is_flag=True,
        expose_value=False,
        callback=_prepare_downloads,
        help="Fetch nothing over the network.",
    )(function)


def _prepare_downloads(ctx: click.Context, _: click.Parameter, is_offline: bool) -> None:
    from ofa_tk import output
    from ofa_tk.download_progress import download_progress
    from ofa_toolkit.zoo.fetching import OFFLINE_VARIABLE, Display, display, show_downloads

    ctx.call_on_close(functools.partial(show_downloads, display()))
    show_downloads(Display(progress=download_progress, say=output.note))
    if is_offline:
        before = os.environ.get(OFFLINE_VARIABLE, "")
        ctx.call_on_close(lambda: os.environ.update({OFFLINE_VARIABLE: before}))
        os.environ[OFFLINE_VARIABLE] = "1"


def out_option(default: str, help_text: str) -> Callable[[F], F]:
    """`--out`: where the output goes (`out`).

    Whether the user chose the path, as `files.check_output(is_default=...)` asks, is told by
    `is_default_out`.
    """
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=default,
        show_default=True,
        metavar="PATH",
        help=help_text,
    )


def is_default_out(ctx: click.Context) -> bool:
    """Whether `--out` was left at its default."""
    return ctx.get_parameter_source("out") is click.core.ParameterSource.DEFAULT


def stem_option(default: str, help_text: str) -> Callable[[F], F]:
    """`--out STEM`: where a table and a picture go, see `stem_files` (`out`)."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=default,
        show_default=True,
        metavar="STEM",
        help=help_text,
    )


def stem_files(stem: Path, suffix: str, *, force: bool) -> tuple[Path, Path]:
    """The table and the picture of a stem, which may be written; they do not tell who made them."""
    table, picture = (stem.with_name(stem.name + each) for each in (suffix, ".png"))
    for path in (table, picture):
        files.check_output(path, is_default=False, force=force)
    return table, picture

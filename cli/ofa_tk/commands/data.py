"""`ofa-tk data`: look at images before anything is trained on them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_toolkit.core.command_line import command_line

if TYPE_CHECKING:
    from ofa_toolkit.datasets.contents import Contents, Skipped

_SHOWN = 5
"""Files, groups and sizes that are listed; `--json` has all."""


@click.group()
def command() -> None:
    """Look at a data set."""


@command.command()
@click.argument("source")
@click.option("--download", is_flag=True, help="Fetch CIFAR where it is missing.")
@click.option("--all", "is_all", is_flag=True, help="Decode every picture, not 5,000 of a larger data set.")
@options.set_option
@options.json_option
def show(source: str, download: bool, is_all: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show classes, splits, sizes, what is left out, and pictures that are there twice.

    SOURCE is written as for --data, such as imagefolder:DIR. The header of every picture is read; damage and
    identical pictures are looked for among those that are decoded.
    """
    from ofa_toolkit.datasets.contents import SAMPLE, read_contents
    from ofa_toolkit.pipelines.data import open_for_showing

    dataset = open_for_showing(source, overrides, download=download)
    with TerminalReporter() as reporter:
        contents = read_contents(dataset, reporter, most_decoded=None if is_all else SAMPLE)
    if as_json:
        output.print_json(contents)
    else:
        _print(contents)
    for text in contents.warnings:
        output.warn(text)
    settings = [word for override in overrides for word in ("--set", override)]
    train = command_line("train", "--recipe", "own-photos", "--data", source, *settings)
    output.next_step(f"{train} --time 20min --out runs/mine")


def _print(contents: Contents) -> None:
    output.line(contents.summary)
    output.line()
    rows = [(count.name, count.train, count.validation, count.test) for count in contents.classes]
    output.print_table(["class", *output.numbers("train", "validation", "test")], rows)
    output.line()
    output.print_fields(
        {
            "largest class": f"{contents.balance:.1f} times the training images of the smallest",
            "sizes": _listed(contents.sizes),
            "stored as": _listed(contents.modes),
        }
    )
    if contents.num_decoded < sum(contents.splits.values()):
        output.note(
            f"Decoded {contents.num_decoded:,} pictures drawn at random: only among them are damaged and "
            "identical ones found. --all decodes all."
        )
    _print_skipped("Cannot be read", contents.unreadable)
    _print_skipped("Left out", contents.left_out)
    if contents.repeated:
        output.line()
        places = [place for group in contents.repeated[:_SHOWN] for place in group]
        shown = [(place.picture, place.split, place.class_name) for place in places]
        output.print_table(["picture", "split", "class"], shown, title="Identical pictures")
        _print_rest(len(contents.repeated))


def _listed(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:_SHOWN])
    return shown + (f" and {len(counts) - _SHOWN} others" if len(counts) > _SHOWN else "")


def _print_skipped(title: str, files: tuple[Skipped, ...]) -> None:
    """Reasons, how many files each, and the first of them."""
    if not files:
        return
    first = {item.reason: item.file for item in reversed(files)}
    counts = Counter(item.reason for item in files).most_common()
    output.line()
    rows = [(reason, count, first[reason]) for reason, count in counts[:_SHOWN]]
    output.print_table(["reason", *output.numbers("files"), "such as"], rows, title=title)
    _print_rest(len(counts))


def _print_rest(count: int) -> None:
    if count > _SHOWN:
        output.note(f"{count - _SHOWN} more with --json.")

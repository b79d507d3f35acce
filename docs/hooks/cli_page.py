"""Write the reference of the command line from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ofa_tk.app import cli

MARKER = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with the source of a page: fill the marker."""
    if MARKER not in markdown:
        return markdown
    root = click.Context(cli, info_name="ofa-tk")
    return markdown.replace(MARKER, "\n".join(_sections(cli, root, level=2)))


def _sections(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    """Headings, help and options of a command and of what is below it."""
    yield f"{'#' * level} {context.command_path}\n"
    yield f"{command.help or ''}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    yield from _options(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _sections(inner, click.Context(inner, info_name=name, parent=context), level + 1)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    # Arguments have no text of their own; the usage line names them.
    rows = [record for record in records if record is not None and record[1]]
    if rows:
        yield "| option | meaning |\n| --- | --- |"
        for names, text in rows:
            yield f"| `{names}` | {_cell(text)} |"
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;")

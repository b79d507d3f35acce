"""`ofa-tk latency kit run`: from a board that ssh reaches to its table, in one line."""

from __future__ import annotations

import shlex

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core import files
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.pipelines.latency.request import BoardRequest


@click.command("run", context_settings={"allow_interspersed_args": False})
@request_options(BoardRequest)
@options.json_option
@click.option("--then", "has_then", is_flag=True, help="Last: `--then search ...` searches for the board.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[search ...]")
@click.pass_context
def command(
    ctx: click.Context,
    request: BoardRequest,
    as_json: bool,
    has_then: bool,
    words: tuple[str, ...],
) -> None:
    """Measure a board over ssh: build a kit, carry it over, run it, import its results.

    The board measures on when the connection breaks or this command is stopped, and goes on after a reboot:
    type the same line again. Keys, ports and jump hosts are those of ssh's configuration; nothing asks for a
    password. Its power mode becomes part of the table's name.

    Example: ofa-tk latency kit run --ssh nano@192.168.1.7 --then search --latency 20ms
    """
    from ofa_tk.commands.latency_commands.importing import print_report
    from ofa_toolkit.latency.importing.kit_results import is_kit_results
    from ofa_toolkit.pipelines.latency.kit_run import measure_board

    search = _search_words(ctx, has_then, words, as_json=as_json)
    is_default = options.is_default_out(ctx)
    files.check_output(request.out, is_default=is_default, force=request.force, is_ours=is_kit_results)
    with TerminalReporter() as reporter:
        report = measure_board(request, reporter)
    if as_json:
        output.print_json(report)
        return
    print_report(report)
    name = report.table.partition(":")[0]
    where = () if request.tables is None else ("--tables", str(request.tables))
    if not search:
        output.next_step(_proposal(name, request.space, f"{report.median_ms:.3g}ms", where))
        return
    search += _missing(search, "--device", name) + list(where)
    if "--supernet" not in search:
        search += _missing(search, "--space", request.space)
    output.note(command_line(*search))
    parent = ctx.find_root()
    parent.command.main(search, prog_name="ofa-tk", standalone_mode=False, obj=parent.obj)


def _search_words(ctx: click.Context, has_then: bool, words: tuple[str, ...], *, as_json: bool) -> list[str]:
    """The search to go on with; its options are checked before anything is measured."""
    if not has_then and not words:
        return []
    split = shlex.split(words[0]) if len(words) == 1 else list(words)
    if not has_then or not split or split[0] != "search":
        raise click.UsageError("A search to go on with comes last: --then search --latency 20ms", ctx)
    if as_json:
        raise click.UsageError("--json prints one document; run the search of --then on its own.", ctx)
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    search = group.get_command(ctx, "search")
    assert search is not None
    search.make_context("search", split[1:], parent=ctx.find_root()).close()
    return split


def _missing(words: list[str], option: str, value: str) -> list[str]:
    """An option with its value, where the words have none."""
    return [] if any(word == option or word.startswith(f"{option}=") for word in words) else [option, value]


def _proposal(device: str, space: str, limit: str, where: tuple[str, ...]) -> str:
    from ofa_toolkit.pipelines.search.suggestion import search_command

    return search_command("--device", device, "--latency", limit, *where, space=space)

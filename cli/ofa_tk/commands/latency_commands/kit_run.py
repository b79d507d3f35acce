"""`ofa-tk latency kit run`: from a board that ssh reaches to its table, in one line."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Literal

import click

from ofa_tk import options, output
from ofa_toolkit.core import files
from ofa_toolkit.core.command_line import command_line

_SPACE = "ofa-mobilenet-v3-w1.0"


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--ssh", "host", required=True, metavar="USER@BOARD", help="The board, as ssh takes it.")
@click.option("--space", default=_SPACE, show_default=True, metavar="NAME|FILE.toml", help="Search space.")
@click.option(
    "--device", metavar="NAME", help="Name to file the table under.  [default: what the board says it is]"
)
@click.option(
    "--runtime",
    type=click.Choice(["trtexec", "onnxruntime"]),
    help="What times the networks.  [default: trtexec where it is found]",
)
@click.option(
    "--probes",
    "--num-probes",
    type=click.IntRange(min=3),
    default=40,
    show_default=True,
    help="Networks to time.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Arithmetic.  [default: fp16 with trtexec, fp32 with onnxruntime]",
)
@click.option(
    "--classes", type=click.IntRange(min=1), help="Outputs of the classifier.  [default: the space's]"
)
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of onnxruntime."
)
@click.option("--python", default="python3", show_default=True, metavar="PATH", help="Python on the board.")
@click.option("--trtexec", metavar="PATH", help="trtexec on the board, where it is not found.")
@click.option(
    "--patience",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="MINUTES",
    help="How long to wait for a board that went away.",
)
@click.option(
    "--ssh-config",
    type=options.InputPath(dir_okay=False),
    metavar="FILE",
    help="Configuration of ssh.  [default: the user's]",
)
@options.out_option("results.jsonl", "The results.")
@click.option(
    "--tables",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of devices to write to.  [default: your own]",
)
@options.force_option
@options.seed_option
@options.json_option
@click.option("--then", "has_then", is_flag=True, help="Last: `--then search ...` searches for the board.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[search ...]")
@click.pass_context
def command(
    ctx: click.Context,
    host: str,
    space: str,
    device: str | None,
    runtime: Literal["trtexec", "onnxruntime"] | None,
    probes: int,
    precision: Literal["fp32", "fp16", "int8"] | None,
    classes: int | None,
    threads: int,
    python: str,
    trtexec: str | None,
    patience: int,
    ssh_config: Path | None,
    out: Path,
    tables: Path | None,
    force: bool,
    seed: int,
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
    from ofa_toolkit.latency.kit.ssh import Board
    from ofa_toolkit.pipelines.latency.kit_run import BoardRequest, Listener, measure_board

    search = _search_words(ctx, has_then, words, as_json=as_json)
    files.check_output(out, is_default=options.is_default_out(ctx), force=force, is_ours=is_kit_results)
    request = BoardRequest(
        board=Board(host=host, config=ssh_config),
        space=space,
        device=device,
        back_end=runtime,
        precision=precision,
        num_probes=probes,
        num_classes=classes,
        threads=threads,
        python=python,
        trtexec=trtexec,
        patience_s=60.0 * patience,
        seed=seed,
        results=out,
        tables=tables,
        force=force,
    )
    with output.progress_bar("building networks", probes) as on_built:
        listener = Listener(on_note=output.note, on_built=on_built)
        report = measure_board(request, listener)
    if as_json:
        output.print_json(dataclasses.asdict(report))
        return
    print_report(report)
    name = report.table.partition(":")[0]
    where = () if tables is None else ("--tables", str(tables))
    if not search:
        output.next_step(_proposal(name, space, f"{report.median_ms:.3g}ms", where))
        return
    search += _missing(search, "--device", name) + list(where)
    if "--supernet" not in search:
        search += _missing(search, "--space", space)
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

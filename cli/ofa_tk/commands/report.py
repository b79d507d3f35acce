"""`ofa-tk report`: an HTML page about searches."""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_toolkit.core import files


@click.command()
@click.argument(
    "fronts", nargs=-1, type=click.Path(dir_okay=False, path_type=Path), metavar="[FRONT.json]..."
)
@click.option(
    "--supernet", metavar="NAME|DIR", help="Whose subnets, for --device. Default: OFA's MobileNetV3 w1.0."
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME[:VARIANT]",
    help="Search the front of this device now. Repeatable.",
)
@options.tables_option
@options.out_option("report.html", "The page.")
@options.force_option
@options.seed_option
@options.json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    fronts: tuple[Path, ...],
    supernet: str | None,
    devices: tuple[str, ...],
    tables: tuple[Path, ...],
    out: Path,
    force: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Write one page that shows fronts, with a slider for the budget; it needs no network.

    FRONT.json comes from `ofa-tk search --pareto FRONT.json`.
    """
    from ofa_toolkit.pipelines.search.front_file import read_front
    from ofa_toolkit.pipelines.search.report import write_report

    files.check_output(out, is_default=options.is_default_out(ctx), force=force, is_ours=_is_report)
    documents = [read_front(path) for path in fronts]
    if devices:
        from ofa_toolkit.pipelines.search.front import find_front
        from ofa_toolkit.zoo.supernet import load_supernet

        source = None if supernet is None else load_supernet(supernet)
        fronts_now = [find_front(source, device=name, tables=tables, seed=seed) for name in devices]
        documents += [front.document() for front in fronts_now]
    write_report(out, documents)
    if as_json:
        output.print_json(
            {
                "page": out,
                "fronts": [
                    {key: document[key] for key in ("space", "supernet", "costs")}
                    | {"num_members": len(document["members"])}
                    for document in documents
                ],
            }
        )
    output.note(f"Wrote {out}")


def _is_report(path: Path) -> bool:
    return (
        path.is_file()
        and "ofa-toolkit search report" in path.read_text(encoding="utf-8", errors="replace")[:600]
    )

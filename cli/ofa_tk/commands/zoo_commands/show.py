"""`ofa-tk zoo show`: a card, or a published subnet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output

if TYPE_CHECKING:
    from ofa_toolkit.zoo.entries import ZooEntry
    from ofa_toolkit.zoo.published_subnets import ListedSubnet


@click.command("show")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a published subnet's architecture, such as subnet.json.",
)
@options.force_option
@options.json_option
def command(name: str, out: Path | None, force: bool, as_json: bool) -> None:
    """Show the card of a supernet (a name or a folder), or a published subnet."""
    from ofa_toolkit.pipelines.zoo import listing as zoo
    from ofa_toolkit.zoo.entries import ZooEntry

    found = zoo.find(name)
    if isinstance(found, ZooEntry):
        if out is not None:
            raise click.UsageError(
                "--out writes a published subnet; a supernet is fetched by `zoo download`."
            )
        _show_entry(found, as_json)
        return
    _show_subnet(found, as_json)
    if out is not None:
        from ofa_toolkit.core import files

        files.check_output(out, is_default=False, force=force, is_ours=files.carries_format_tag)
        if not zoo.write_published_subnet(found, out):
            output.warn(
                f"{found.entry.card.space} does not offer {found.published.resolution} pixels; "
                "this network can be extracted and exported, not searched or predicted."
            )
        output.note(f"Wrote {out}")


def _show_entry(entry: ZooEntry, as_json: bool) -> None:
    from ofa_toolkit.core import config
    from ofa_toolkit.zoo.published_subnets import read_published_subnets
    from ofa_toolkit.zoo.readme import render_readme

    if as_json:
        output.print_json({**config.to_dict(entry.card), "folder": str(entry.folder), "origin": entry.origin})
        return
    text = render_readme(entry.card, read_published_subnets(entry.folder))
    output.line(text.partition("---\n\n")[2].rstrip())


def _show_subnet(found: ListedSubnet, as_json: bool) -> None:
    from ofa_toolkit.spaces.subnet_file import subnet_document

    if as_json:
        document = subnet_document(found.published.subnet)
        figures = {"supernet": found.entry.name, "source": found.source, **found.figures()}
        output.print_json({**figures, "stages": document["stages"]})
        return
    fields: dict[str, object] = {"supernet": found.entry.name}
    fields |= {name: value for name, value in found.figures().items() if value is not None}
    output.print_fields(fields)
    published = found.published
    choices = zip(published.kernel_sizes, published.expand_ratios, strict=True)
    rows = [
        (index, _join(kernels), _join(ratios)) for index, (kernels, ratios) in enumerate(choices, start=1)
    ]
    output.print_table([*output.numbers("stage"), "kernel sizes", "expand ratios"], rows)
    output.note(f"Source: {found.source}.")
    output.note("The accuracy is that of the published, fine-tuned network.")


def _join(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)

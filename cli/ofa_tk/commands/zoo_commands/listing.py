"""`ofa-tk zoo list`: which supernets and published subnets there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_toolkit.core import quantities

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.zoo.listing import EntrySummary
    from ofa_toolkit.zoo.published_subnets import ListedSubnet

_AVAILABILITY = {"included": "included", "download": "to download", "link": "link only"}


@click.command("list")
@click.option("--space", metavar="NAME", help="Of this search space.")
@click.option("--dataset", metavar="TEXT", help="Whose data set's name contains this.")
@click.option("--licence", metavar="TEXT", help="Whose licence's name contains this.")
@click.option("--commercial", is_flag=True, help="Leave out what excludes commercial use.")
@click.option("--subnets", is_flag=True, help="List published subnets instead of supernets.")
@options.json_option
def command(
    space: str | None,
    dataset: str | None,
    licence: str | None,
    commercial: bool,
    subnets: bool,
    as_json: bool,
) -> None:
    """List supernets, or with --subnets the subnets others published."""
    from ofa_toolkit.pipelines.zoo.listing import list_entries, list_published_subnets, summarize_entries

    entries = list_entries(space=space, dataset=dataset, licence=licence, commercial_only=commercial)
    if subnets:
        _list_subnets(list_published_subnets(entries), as_json)
        return
    summaries = summarize_entries(entries)
    if as_json:
        output.print_json(summaries)
        return
    texts = ("name", "space", "data", "licence", "availability")
    output.print_table([*texts, *output.numbers("size")], [_list_row(summary) for summary in summaries])
    if any(summary.num_published_subnets for summary in summaries):
        output.note("Subnets that others fine-tuned and published: ofa-tk zoo list --subnets")


def _list_row(summary: EntrySummary) -> tuple[object, ...]:
    licence = f"{summary.licence}{' (non-commercial)' if summary.is_non_commercial else ''}"
    here = "downloaded" if summary.availability == "download" and summary.is_here else None
    size = "unknown" if summary.num_bytes is None else quantities.MEMORY.format(summary.num_bytes, 2)
    return (
        summary.name,
        summary.space or "another",
        summary.dataset,
        licence,
        here or _AVAILABILITY[summary.availability],
        "" if summary.availability == "link" else size,
    )


def _list_subnets(found: tuple[ListedSubnet, ...], as_json: bool) -> None:
    if as_json:
        output.print_json([{"supernet": each.entry.name, **each.figures()} for each in found])
        return
    numbers = output.numbers("pixels", "MACs", "top-1 %", "latency")
    output.print_table(["name", "supernet", *numbers, "on"], [_subnet_row(each) for each in found])
    output.note(
        "Accuracy after fine-tuning and latency are their authors'. `zoo show NAME --out subnet.json`"
    )


def _subnet_row(found: ListedSubnet) -> tuple[object, ...]:
    subnet = found.published
    on = "" if subnet.device is None else f"{subnet.device}, batch {subnet.batch_size}"
    latency = "" if subnet.latency_ms is None else quantities.LATENCY.format(subnet.latency_ms)
    macs = quantities.MACS.format(subnet.macs)
    return (subnet.name, found.entry.name, subnet.resolution, macs, subnet.top1_percent, latency, on)

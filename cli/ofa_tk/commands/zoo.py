"""`ofa-tk zoo`: pretrained supernets and published subnets."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.output import Column
from ofa_toolkit.core import quantities
from ofa_toolkit.core.errors import VerificationError

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.zoo import EntrySummary
    from ofa_toolkit.zoo.entries import ZooEntry
    from ofa_toolkit.zoo.published_subnets import FoundSubnet
    from ofa_toolkit.zoo.store import Store

_AVAILABILITY = {"included": "included", "download": "to download", "link": "link only"}


@click.group()
def command() -> None:
    """Pretrained supernets: list, show, download, check, package, upload."""


@command.command("list")
@click.option("--space", metavar="NAME", help="Of this search space.")
@click.option("--dataset", metavar="TEXT", help="Whose data set's name contains this.")
@click.option("--licence", metavar="TEXT", help="Whose licence's name contains this.")
@click.option("--commercial", is_flag=True, help="Leave out what excludes commercial use.")
@click.option("--subnets", is_flag=True, help="List published subnets instead of supernets.")
@options.json_option
def list_command(
    space: str | None,
    dataset: str | None,
    licence: str | None,
    commercial: bool,
    subnets: bool,
    as_json: bool,
) -> None:
    """List supernets, or with --subnets the subnets others published."""
    from ofa_toolkit.pipelines.zoo import list_entries, list_published_subnets, summarize_entries

    entries = list_entries(space=space, dataset=dataset, licence=licence, commercial_only=commercial)
    if subnets:
        _list_subnets(list_published_subnets(entries), as_json)
        return
    summaries = summarize_entries(entries)
    if as_json:
        output.print_json([dataclasses.asdict(summary) for summary in summaries])
        return
    columns: list[Column | str] = [
        "name",
        "space",
        "data",
        "licence",
        "availability",
        Column(name="size", is_number=True),
    ]
    output.print_table(columns, [_list_row(summary) for summary in summaries])
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


def _list_subnets(found: tuple[FoundSubnet, ...], as_json: bool) -> None:
    if as_json:
        output.print_json([{"supernet": each.entry.name, **each.figures()} for each in found])
        return
    columns: list[Column | str] = [
        "name",
        "supernet",
        Column(name="pixels", is_number=True),
        Column(name="MACs", is_number=True),
        Column(name="top-1 %", is_number=True),
        Column(name="latency", is_number=True),
        "on",
    ]
    output.print_table(columns, [_subnet_row(each) for each in found])
    output.note(
        "Accuracy after fine-tuning and latency are their authors'. `zoo show NAME --out subnet.json`"
    )


def _subnet_row(found: FoundSubnet) -> tuple[object, ...]:
    subnet = found.published
    on = "" if subnet.device is None else f"{subnet.device}, batch {subnet.batch_size}"
    latency = "" if subnet.latency_ms is None else quantities.LATENCY.format(subnet.latency_ms)
    macs = quantities.MACS.format(subnet.macs)
    return (subnet.name, found.entry.name, subnet.resolution, macs, subnet.top1_percent, latency, on)


@command.command("show")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a published subnet's architecture, such as subnet.json.",
)
@options.force_option
@options.json_option
def show_command(name: str, out: Path | None, force: bool, as_json: bool) -> None:
    """Show the card of a supernet (a name or a folder), or a published subnet."""
    from ofa_toolkit.pipelines import zoo
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
    click.echo(text.partition("---\n\n")[2].rstrip())


def _show_subnet(found: FoundSubnet, as_json: bool) -> None:
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
    columns: list[Column | str] = [Column(name="stage", is_number=True), "kernel sizes", "expand ratios"]
    choices = zip(published.kernel_sizes, published.expand_ratios, strict=True)
    rows = [
        (index, _join(kernels), _join(ratios)) for index, (kernels, ratios) in enumerate(choices, start=1)
    ]
    output.print_table(columns, rows)
    output.note(f"Source: {found.source}.")
    output.note("The accuracy is that of the published, fine-tuned network.")


def _join(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


@command.command("download")
@click.argument("name")
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="PLACE", help="Look here first: file, folder, address."
)
@click.option("--offline", is_flag=True, help="Use the cache and local mirrors only.")
@click.option("--accept-unknown", is_flag=True, help="Take a file whose identity nobody published.")
@options.json_option
def download_command(
    name: str, mirrors: tuple[str, ...], offline: bool, accept_unknown: bool, as_json: bool
) -> None:
    """Fetch a supernet by its zoo name or hf-hub:USER/REPO[@REVISION], check it, and make it ready."""
    from ofa_toolkit.zoo import download_supernet

    with _store(name, mirrors, offline=offline, accept_unknown=accept_unknown) as store:
        folder = download_supernet(name, store=store)
    if as_json:
        output.print_json({"name": name, "folder": str(folder)})
    else:
        click.echo(folder)
    output.next_step(f"ofa-tk search --supernet {name}")


@contextlib.contextmanager
def _store(name: str, mirrors: tuple[str, ...], *, offline: bool, accept_unknown: bool) -> Iterator[Store]:
    from ofa_tk.download_progress import download_progress
    from ofa_toolkit.zoo import Store
    from ofa_toolkit.zoo.sources import user_mirrors

    with download_progress(name) as progress:
        yield Store(
            offline=offline,
            mirrors=(*mirrors, *user_mirrors()),
            accept_unknown=accept_unknown,
            progress=progress,
            notify=output.note,
        )


@command.command("verify")
@click.argument("name")
@click.option("--data", metavar="SOURCE", help="Also measure every figure of the card on these images.")
@options.json_option
def verify_command(name: str, data: str | None, as_json: bool) -> None:
    """Check the files of an entry (a name or a folder) against its card; exit 1 when one differs."""
    from ofa_toolkit.pipelines import zoo
    from ofa_toolkit.pipelines.verify_entry import verify_entry
    from ofa_toolkit.zoo.entries import ZooEntry

    found = zoo.find(name)
    if not isinstance(found, ZooEntry):
        raise click.UsageError(f"'{name}' is a published subnet; only supernets have files to check.")
    findings = verify_entry(found, data=data, notify=output.note)
    wrong = [finding for finding in findings if not finding.is_right]
    if as_json:
        document = {"is_right": not wrong, "findings": [dataclasses.asdict(finding) for finding in findings]}
        output.print_json(document)
    else:
        rows = [(f.subject, "right" if f.is_right else "wrong", f.detail) for f in findings]
        output.print_table(["subject", "is", "detail"], rows)
    if wrong:
        raise VerificationError(
            f"'{name}' is not what its card says: {wrong[0].subject}: {wrong[0].detail}.",
            hint="Download it again, or tell its maker.",
        )


@command.command("package")
@click.argument("source", metavar="RUN", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--name", required=True, help="Name of the entry.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Its folder. Default: the user's zoo."
)
@click.option(
    "--data",
    metavar="SOURCE",
    help="Images it was trained on: make batch-norm images, predictor and front, measure the card's figures.",
)
@click.option(
    "--skip",
    type=click.Choice(["images", "predictor", "front"]),
    multiple=True,
    help="Do not make this part. Repeatable.",
)
@click.option(
    "--num-subnets",
    type=click.IntRange(min=1),
    default=150,
    show_default=True,
    help="Subnets to measure for the predictor.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=2500,
    show_default=True,
    help="Held-out training images to measure each of them on.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keeps what a killed run has done. Default: `packaging` in RUN.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: all cores.")
@click.option(
    "--subnet",
    "subnets",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    metavar="FILE",
    help="Include this subnet and measure it. Repeatable.",
)
@click.option(
    "--front",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Include and measure subnets of this front instead; `ofa-tk search --pareto` writes one.",
)
@click.option(
    "--num-front",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="How many of them, spread evenly.",
)
@click.option("--predictor", type=click.Path(path_type=Path, exists=True), metavar="FILE", help="Include it.")
@click.option(
    "--facts",
    type=click.Path(path_type=Path, exists=True),
    metavar="FILE",
    help="Parts of a card a run cannot know: licence, terms, cost, limits (TOML).",
)
@click.option(
    "--seed-run",
    "seed_runs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    metavar="RUN",
    help="A run of the same recipe with another seed, measured too. Repeatable.",
)
@options.seed_option
@options.force_option
@options.json_option
def package_command(
    source: Path,
    name: str,
    out: Path | None,
    data: str | None,
    skip: tuple[str, ...],
    num_subnets: int,
    images: int,
    work: Path | None,
    threads: int | None,
    subnets: tuple[Path, ...],
    front: Path | None,
    num_front: int,
    predictor: Path | None,
    facts: Path | None,
    seed_runs: tuple[Path, ...],
    seed: int,
    force: bool,
    as_json: bool,
) -> None:
    """Turn a run, supernet or entry folder into a zoo entry with float16 weights and a card.

    With --data also its batch-norm images, predictor and front are made, which takes an hour or two for a
    small supernet on a CPU; killed and started again it goes on.
    """
    import torch

    from ofa_toolkit.core import config
    from ofa_toolkit.pipelines.package_entry import PackageRequest, default_out, package_entry
    from ofa_toolkit.pipelines.prepare_entry import PARTS, Preparation, prepare_entry

    if threads is not None:
        torch.set_num_threads(threads)
    folder = default_out(name) if out is None else out
    request = PackageRequest(
        source=source,
        name=name,
        out=folder,
        data=data,
        subnets=subnets,
        front=front,
        num_front=num_front,
        predictor=predictor,
        facts=facts,
        seed_runs=seed_runs,
        replace=force,
    )
    if data is not None:
        preparation = Preparation(
            parts=tuple(part for part in PARTS if part not in skip),
            num_subnets=num_subnets,
            predictor_images=images,
            work=work,
            seed=seed,
        )
        request = prepare_entry(request, preparation, notify=output.note, progress_bar=output.progress_bar)
    card = package_entry(request, notify=output.note)
    if as_json:
        output.print_json({"folder": str(folder), "card": config.to_dict(card)})
    else:
        click.echo(folder)
    place = name if out is None else folder
    output.next_step(f"ofa-tk zoo verify {place}{' --data ' + data if data else ''}")


@command.command("push")
@click.argument("source", metavar="NAME|DIR")
@click.argument("target", metavar="hf-hub:USER/REPO")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--message", metavar="TEXT", help="Commit message.")
@options.json_option
def push_command(source: str, target: str, private: bool, message: str | None, as_json: bool) -> None:
    """Upload an entry with its files to the Hugging Face Hub, after checking it."""
    from ofa_toolkit.pipelines import zoo
    from ofa_toolkit.zoo.entries import ZooEntry
    from ofa_toolkit.zoo.hub import push_to_hub

    found = zoo.find(source)
    if not isinstance(found, ZooEntry):
        raise click.UsageError(f"'{source}' is a published subnet; only supernets can be uploaded.")
    address = push_to_hub(found.folder, target, private=private, message=message)
    if as_json:
        output.print_json({"commit": address})
    else:
        click.echo(address)
    output.next_step(f"ofa-tk zoo download {target}")

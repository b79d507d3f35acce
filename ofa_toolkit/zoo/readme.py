"""`README.md` of an entry, written from its card so that the two never disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ofa_toolkit.core.errors import OfaToolkitError
from ofa_toolkit.spaces import get_space
from ofa_toolkit.zoo.card import AccuracyFact, Card
from ofa_toolkit.zoo.published_subnets import PublishedSubnets
from ofa_toolkit.zoo.store import describe_size

README_FILE = "README.md"

_IN_CONFIG = "its table is in `config.json`"

_AVAILABILITY = {
    "included": "The files lie in this folder.",
    "download": "The files are fetched with `ofa-tk zoo download {name}`.",
    "link": "This entry only says where the files are; the toolkit neither fetches nor reads them.",
}


def render_readme(card: Card, subnets: PublishedSubnets | None = None) -> str:
    """The page of an entry, with the front matter the Hugging Face Hub reads."""
    blocks = [
        _front_matter(card),
        f"# {card.name}",
        card.summary,
        _AVAILABILITY[card.availability].format(name=card.name),
        *([_warning()] if card.licence.is_non_commercial else []),
        _list(_facts(card)),
        *_section("Accuracy", _accuracy(card)),
        *_section("Published subnets", _published(subnets)),
        *_section("Preprocessing", _preprocessing(card)),
        *_section("Training", _list(_training(card))),
        *_section("Files", _files(card)),
        "## Licence",
        f"{card.licence.name}. {card.licence.statement}"
        + (f" <{card.licence.url}>" if card.licence.url else ""),
        f"Training data: {card.data.terms}." if card.data.terms != "unknown" else "",
        *_section("Limits", _list(card.limits)),
        *_section("Links", _list(f"<{link}>" for link in card.links)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _front_matter(card: Card) -> str:
    name = card.licence.name
    # The hub knows identifiers; anything in words is "other" with a name.
    licence = [f"license: {name.lower()}"]
    if " " in name:
        licence = ["license: other", f"license_name: {name.lower().replace(' ', '-')}"]
    elif name in ("unstated", "unknown"):
        licence = ["license: other"]
    return "\n".join(
        [
            "---",
            *licence,
            "library_name: ofa-toolkit",
            "pipeline_tag: image-classification",
            "tags: [once-for-all, supernet, neural-architecture-search]",
            "---",
        ]
    )


def _warning() -> str:
    return "**Commercial use is excluded by the owner of the weights.**"


def _facts(card: Card) -> Iterator[str]:
    if card.space:
        yield f"Search space: `{card.space}` ({_where_shown(card.space, card)})"
    if card.resolutions:
        yield f"Resolutions: {', '.join(map(str, card.resolutions))} pixels"
    yield f"Training algorithm: {card.training.algorithm}"
    yield f"Data: {card.data.name}, {card.data.num_classes} classes" + (
        f" ({card.data.splits})" if card.data.splits != "unknown" else ""
    )


def _where_shown(space: str, card: Card) -> str:
    try:
        known = get_space(space)
    except OfaToolkitError:
        return _IN_CONFIG
    if card.resolutions:
        known = known.with_resolutions(card.resolutions)
    is_known = card.space_identity in (None, known.identity)
    return f"`ofa-tk spaces show {space}`" if is_known else _IN_CONFIG


def _training(card: Card) -> Iterator[str]:
    facts = card.training
    yield f"Recipe: {facts.recipe}; revision of the code: {facts.commit}"
    if facts.command:
        yield f"Command: `{facts.command}`"
    if facts.seeds:
        yield f"Seeds: {', '.join(map(str, facts.seeds))}; the stored weights are of seed {facts.seeds[0]}"
    yield f"Hardware: {facts.hardware}" + (f"; {facts.hours:g} hours a run" if facts.hours else "")
    yield f"Cost: {facts.cost}"


def _preprocessing(card: Card) -> str:
    facts = card.preprocessing
    if facts is None:
        return ""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (facts.mean, facts.std))
    square = f"the central square of {facts.size} pixels keeps {facts.crop:g} of each side"
    return _list(
        [
            f"Resized ({facts.interpolation}) so that {square}",
            f"Scaled to [0, 1], then mean {mean} and standard deviation {std} for red, green and blue",
        ]
    )


def _accuracy(card: Card) -> str:
    if not card.accuracy:
        return ""
    rows = [_accuracy_row(fact) for fact in card.accuracy]
    header = ["subnet", "resolution", "MMACs", "top-1 %", "by seed", "origin", "batch norm", "images"]
    return _table(header, rows)


def _accuracy_row(fact: AccuracyFact) -> list[str]:
    return [
        fact.subnet,
        str(fact.resolution),
        "unknown" if fact.macs is None else f"{fact.macs / 1e6:.1f}",
        f"{fact.top1_percent:.2f}" if fact.num_among is None else accuracy_of(fact),
        ", ".join(f"{value:.2f}" for value in fact.top1_by_seed),
        fact.origin,
        fact.batchnorm,
        fact.source,
    ]


def accuracy_of(fact: AccuracyFact) -> str:
    """A figure of the card in words: `84.69 %`, or `92.60 % among 10 classes, 56.50 % among all`."""
    if fact.top1_among_percent is None:
        return f"{fact.top1_percent:.2f} %"
    among = f"{fact.top1_among_percent:.2f} % among {fact.num_among} classes"
    return f"{among}, {fact.top1_percent:.2f} % among all"


def _published(subnets: PublishedSubnets | None) -> str:
    if subnets is None:
        return ""
    note = (
        "Accuracy is that of the published networks, which were fine-tuned after being cut out; latency was "
        "measured and rounded by their authors. "
        "`ofa-tk zoo show NAME --out subnet.json` writes the architecture.\n\n"
        f"Source: {subnets.source}. {subnets.licence}"
    )
    rows = [
        [
            f"`{subnet.name}`",
            str(subnet.resolution),
            f"{subnet.macs / 1e6:.1f}",
            f"{subnet.top1_percent:.1f}",
            str(subnet.finetune_epochs),
            "" if subnet.latency_ms is None else f"{subnet.latency_ms:g}",
            "" if subnet.device is None else f"{subnet.device}, batch {subnet.batch_size}, {subnet.runtime}",
        ]
        for subnet in subnets.subnets
    ]
    header = ["name", "resolution", "MMACs", "top-1 %", "fine-tuned epochs", "latency ms", "measured on"]
    return f"{note}\n\n{_table(header, rows)}"


def _files(card: Card) -> str:
    blocks = []
    for file in card.files:
        lines = [f"`{file.path}`, {describe_size(file)}"]
        lines += [f"SHA-256 `{file.sha256}`"] if file.sha256 else []
        lines += [f"git blob `{file.git_blob_sha1}`"] if file.git_blob_sha1 else []
        lines += (
            [] if file.has_identity else ["no identity was published; downloading needs `--accept-unknown`"]
        )
        lines += [f"identity from {file.identity_source}"] if file.identity_source else []
        lines += [f"<{mirror}>" for mirror in file.mirrors]
        blocks.append("\n".join([f"- {lines[0]}", *(f"    - {line}" for line in lines[1:])]))
    return "\n".join(blocks)


def _section(title: str, body: str) -> list[str]:
    return [f"## {title}", body] if body else []


def _list(lines: Iterator[str] | Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

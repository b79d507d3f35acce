"""Cards and published subnets: the schema, and every entry that ships."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import config, resources
from ofa_toolkit.core.errors import ConfigError, FileFormatError, MismatchError, SubnetNotInSpaceError
from ofa_toolkit.pipelines.zoo.listing import write_published_subnet
from ofa_toolkit.spaces import Encoding, get_space, lower
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.zoo.card import Card, read_card, write_card
from ofa_toolkit.zoo.entries import ZooEntry, check_files, list_entries, load_entry
from ofa_toolkit.zoo.published_subnets import (
    PublishedSubnets,
    list_published_subnets,
    read_published_subnets,
)
from ofa_toolkit.zoo.readme import render_readme
from tests.unit.zoo.entries import card_document, write_entry

SHIPPED = [
    load_entry(path, "bundled") for path in sorted(resources.data_path("zoo").iterdir()) if path.is_dir()
]
SUBNETS = list_published_subnets(SHIPPED)
LARGEST_BUNDLED_FILE = 9_500_000

each_entry = pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)


@each_entry
def test_every_shipped_card_says_what_matters(entry: ZooEntry) -> None:
    card = entry.card
    assert entry.name == entry.folder.name
    assert card.licence.statement
    assert card.data.terms != "unknown"
    assert card.limits
    if card.space is not None:
        assert get_space(card.space).name == card.space
    if card.layout == "ofa-toolkit":
        assert card.accuracy
        assert card.training.commit != "unknown"


@each_entry
def test_every_readme_is_that_of_its_card(entry: ZooEntry) -> None:
    rendered = render_readme(entry.card, read_published_subnets(entry.folder))
    assert (entry.folder / "README.md").read_text(encoding="utf-8") == rendered


@each_entry
def test_every_included_file_is_the_one_of_the_card(entry: ZooEntry) -> None:
    assert check_files(entry) == ()
    for file in entry.card.files:
        if entry.card.availability == "included":
            assert file.size is not None
            assert file.size <= LARGEST_BUNDLED_FILE


@each_entry
def test_nothing_non_commercial_is_ever_fetched(entry: ZooEntry) -> None:
    if entry.card.licence.is_non_commercial and entry.card.layout != "ofa-toolkit":
        assert entry.card.availability == "link"


def test_official_identities_are_the_published_ones() -> None:
    cards = {entry.name: entry.card for entry in SHIPPED}
    git = {name: card.files[0].git_blob_sha1 for name, card in cards.items() if card.files}
    assert git["ofa-mobilenet-v3-w1.0"] == "55d835981d8acd1053657a951b18887a724ddcbf"
    assert git["ofa-mobilenet-v3-w1.2"] == "d75a3613bae216091f61fc4b7df77d49cc82ed32"
    assert git["ofa-proxyless-w1.3"] == "c97035a7a6fe611508f3bb35ffac0ef77262f5e0"
    assert len(cards["ofa-mobilenet-v3-w1.0"].files[0].mirrors) == 2
    assert cards["ofa-resnet50"].licence.name == "MIT"


def test_there_are_twenty_published_subnets() -> None:
    assert len(SUBNETS) == 20
    assert {found.entry.name for found in SUBNETS} == {
        "ofa-mobilenet-v3-w1.0",
        "ofa-mobilenet-v3-w1.2",
        "ofa-proxyless-w1.3",
    }


@pytest.mark.parametrize("found", SUBNETS, ids=lambda found: found.published.name)
def test_published_subnets_are_networks_of_their_space(found: Any) -> None:
    published = found.published
    space = get_space(found.entry.card.space)
    assert published.subnet in space
    assert count_macs(lower(space, published.subnet)) == published.macs
    # Name, accuracy and epochs are said twice; a slip in one of them shows.
    assert f"top1-{published.top1_percent}_finetune-{published.finetune_epochs}" in published.name
    if published.latency_ms is not None:
        assert f"{published.latency_ms:g}ms" in published.name


def test_one_published_subnet_has_a_resolution_its_space_does_not_offer(tmp_path: Path) -> None:
    """It is a network like the others, also after a round trip, but search and tables do not know it."""
    (found,) = [
        found
        for found in SUBNETS
        if found.published.resolution not in get_space(str(found.entry.card.space)).resolutions
    ]
    assert found.published.resolution == 228
    assert not write_published_subnet(found, tmp_path / "subnet.json")
    read = read_subnet(tmp_path / "subnet.json")
    assert read.subnet == found.published.subnet
    assert read.supernet == "ofa-mobilenet-v3-w1.2"
    with pytest.raises(SubnetNotInSpaceError, match="at 228 pixels can be built, but has no code"):
        Encoding(read.space).encode([read.subnet])


@pytest.mark.parametrize("resolution", [224, 160])
def test_published_subnets_at_offered_resolutions_can_be_encoded(tmp_path: Path, resolution: int) -> None:
    found = next(found for found in SUBNETS if found.published.resolution == resolution)
    assert write_published_subnet(found, tmp_path / "subnet.json")
    subnet = read_subnet(tmp_path / "subnet.json").subnet
    encoding = Encoding(get_space(str(found.entry.card.space)))
    assert encoding.decode(encoding.encode([subnet])) == [subnet]


def test_cards_survive_writing(tmp_path: Path) -> None:
    card = write_entry(tmp_path / "tiny", {"config.json": b"{}", "model.safetensors": b"1"})
    assert read_card(tmp_path / "tiny") == card
    write_card(tmp_path / "again.toml", card)
    assert read_card(tmp_path / "again.toml") == card


def _file(**changes: Any) -> dict[str, Any]:
    return {"path": "a", "size": 1, "sha256": "0" * 64, "mirrors": ["https://example.org/a"], **changes}


def _download(*files: dict[str, Any], **changes: Any) -> dict[str, Any]:
    known = {"availability": "download", "layout": "official", "space": "ofa-resnet50", "links": []}
    return card_document("bad", files=list(files), **(known | changes))


BAD: list[tuple[dict[str, Any], str]] = [
    (card_document("Bad Name"), "name: 'Bad Name'"),
    (card_document("bad", colour="red"), "Unknown setting 'colour'"),
    (card_document("bad", links=[]), "lists links and no files"),
    (card_document("bad", availability="included"), "files: missing"),
    (_download(), "files: missing"),
    (_download(_file(mirrors=[])), r"files\[0\].mirrors: missing"),
    (_download(_file(), _file(path="b")), "exactly one"),
    (_download(_file(), _file()), "listed twice"),
    (_download(_file(path="../a")), r"files\[0\].path: '../a' is not a path inside"),
    (_download(_file(path="/a")), "is not a path inside"),
    (_download(_file(sha256="abc")), "64 lower-case"),
    (_download(_file(git_blob_sha1="abc")), "40 lower-case"),
    (_download(_file(), space=None), "space: missing"),
    (
        _download(_file(size=None), availability="included", layout="ofa-toolkit"),
        "needs sha256",
    ),
    (
        card_document(
            "bad",
            accuracy=[
                {
                    "subnet": "largest",
                    "resolution": 32,
                    "top1_percent": 90.0,
                    "origin": "measured",
                    "source": "x",
                    "top1_by_seed": [1.0, 2.0],
                }
            ],
        ),
        r"accuracy\[0\].top1_by_seed: 2 values for 0 seeds",
    ),
]


@pytest.mark.parametrize(("document", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_cards_are_refused_with_the_place(document: dict[str, Any], message: str) -> None:
    document = {name: value for name, value in document.items() if value is not None}
    for file in document.get("files", []):
        for name in [name for name, value in file.items() if value is None]:
            del file[name]
    with pytest.raises(ConfigError, match=message):
        config.from_dict(Card, document)


def test_a_card_in_the_wrong_folder_is_refused(tmp_path: Path) -> None:
    write_entry(tmp_path / "here", {"config.json": b"{}"}, name="there")
    with pytest.raises(MismatchError, match="holds the card of 'there'"):
        load_entry(tmp_path / "here", "user")


def test_published_subnets_must_describe_every_block(tmp_path: Path) -> None:
    text = """
source = "x"
licence = "x"
[[subnets]]
name = "short"
resolution = 224
depths = [2]
kernel_sizes = [[3]]
expand_ratios = [[3, 3]]
macs = 1
top1_percent = 70.0
finetune_epochs = 1
"""
    (tmp_path / "subnets.toml").write_text(text)
    with pytest.raises(FileFormatError, match="kernel_sizes: needs one value for each active block"):
        read_published_subnets(tmp_path)


def test_filters() -> None:
    names = {entry.name for entry in list_entries(licence="apache")}
    assert {"compofa-mobilenet-v3-w1.0", "compofa-mobilenet-v3-w1.0-elastic-kernel"} <= names
    assert "ofa-resnet50" not in names
    assert [entry.name for entry in list_entries(space="ofa-resnet50")] == ["ofa-resnet50"]
    assert "alphanet" in {entry.name for entry in list_entries(dataset="imagenet (")}
    assert not any(entry.card.licence.is_non_commercial for entry in list_entries(commercial_only=True))


def _documented(declared: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Every setting of a schema with its sentence, those of tables in lists and of optional tables too."""
    rows = []
    for name, annotation in typing.get_type_hints(declared, include_extras=False).items():
        helps = config.field_help(declared)
        inner = [
            each
            for each in (annotation, *typing.get_args(annotation))
            if isinstance(each, type) and dataclasses.is_dataclass(each)
        ]
        rows.append((f"{prefix}{name}", helps[name]))
        if inner:
            is_list = typing.get_origin(annotation) not in (None, types.UnionType, typing.Union)
            rows += _documented(inner[0], f"{prefix}{name}{'[]' if is_list else ''}.")
    return rows


@pytest.mark.parametrize("schema", [Card, PublishedSubnets])
def test_every_setting_is_on_the_formats_page(schema: type) -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "formats.md"
    text = page.read_text(encoding="utf-8")
    missing = [
        f"| `{path}` | {sentence} |"
        for path, sentence in _documented(schema)
        if f"| `{path}` | {sentence} |" not in text
    ]
    assert missing == []


def test_a_readme_shows_the_command_of_a_space_only_where_it_shows_that_space() -> None:
    card = load_entry(resources.data_path("zoo") / "deps-compact-cifar10", "bundled").card
    assert "(`ofa-tk spaces show mobilenet-v3-compact`)" in render_readme(card)
    other = dataclasses.replace(card, space_identity="0" * 16)
    assert "`mobilenet-v3-compact` (its table is in `config.json`)" in render_readme(other)

"""Upload and download through the real `huggingface_hub`, against a local stand-in of the hub."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from ofa_toolkit.core.errors import StoreError, UnknownNameError
from ofa_toolkit.core.resources import data_path
from ofa_toolkit.pipelines.zoo.listing import find
from ofa_toolkit.zoo.hub import HubName, download_from_hub, push_to_hub
from ofa_toolkit.zoo.readme import render_readme
from ofa_toolkit.zoo.resolving import download_supernet
from ofa_toolkit.zoo.supernet import load_supernet
from tests.unit.zoo.entries import write_entry
from tests.unit.zoo.hub_stand_in import Hub, serve_hub

# The library's own LFS upload uses a parameter that its HTTP client has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "hf-hub:someone/tiny"
FILES = {"config.json": b"{}\n", "model.safetensors": bytes(range(256)) * 40, "subnets/01.json": b"[1]\n"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    # The Xet protocol needs its own storage service; the hub's plain LFS interface does the same job.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.delenv("OFA_TK_OFFLINE", raising=False)
    with serve_hub("hf_test") as started:
        yield started
        assert started.unknown == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    card = write_entry(folder, FILES)
    (folder / "README.md").write_text(render_readme(card))
    (folder / "private-notes.txt").write_text("not listed in the card")
    return folder


def test_round_trip(hub: Hub, folder: Path) -> None:
    address = push_to_hub(folder, NAME, endpoint=hub.url)
    assert address.startswith(f"{hub.url}/someone/tiny/commit/")
    assert hub.commits == ["Upload tiny"]
    assert "model.safetensors" in hub.lfs_paths
    assert set(hub.repositories["someone/tiny"]) == {*FILES, "card.toml", "README.md"}

    fetched = download_from_hub(NAME, endpoint=hub.url)
    for path, content in FILES.items():
        assert (fetched / path).read_bytes() == content
    assert (fetched / "card.toml").read_bytes() == (folder / "card.toml").read_bytes()
    assert download_from_hub(NAME, offline=True, endpoint=hub.url) == fetched


def test_names_of_the_hub_are_fetched_once_where_they_are_used(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = functools.partial(download_from_hub, endpoint=hub.url)
    monkeypatch.setattr("ofa_toolkit.zoo.hub.download_from_hub", here)
    bundled = data_path("zoo") / "deps-compact-cifar10"
    push_to_hub(bundled, NAME, endpoint=hub.url)
    monkeypatch.setenv("OFA_TK_OFFLINE", "1")
    with pytest.raises(StoreError, match="not on this machine"):
        load_supernet(NAME)
    monkeypatch.delenv("OFA_TK_OFFLINE")
    assert load_supernet(NAME).space == load_supernet("deps-compact-cifar10").space
    assert capsys.readouterr().err.count("Fetching 'hf-hub:someone/tiny'") == 1
    hub.repositories.clear()  # what is here is not asked for again
    assert load_supernet(NAME).identity == load_supernet("deps-compact-cifar10").identity
    assert find(NAME).card.name == "deps-compact-cifar10"


def test_a_second_push_changes_one_repository(hub: Hub, folder: Path) -> None:
    push_to_hub(folder, NAME, endpoint=hub.url)
    write_entry(folder, {**FILES, "config.json": b'{"a": 1}\n'})
    push_to_hub(folder, NAME, message="Again", endpoint=hub.url)
    assert hub.commits == ["Upload tiny", "Again"]
    assert (download_from_hub(NAME, endpoint=hub.url) / "config.json").read_bytes() == b'{"a": 1}\n'


def test_a_folder_that_is_not_what_its_card_says_is_not_uploaded(hub: Hub, folder: Path) -> None:
    (folder / "config.json").write_bytes(b"[]\n")
    with pytest.raises(StoreError, match=r"'config\.json' is not the file of the card"):
        push_to_hub(folder, NAME, endpoint=hub.url)
    assert hub.repositories == {}


def test_a_repository_that_is_not_what_its_card_says_is_refused(hub: Hub, folder: Path) -> None:
    push_to_hub(folder, NAME, endpoint=hub.url)
    hub.repositories["someone/tiny"]["config.json"] = b"[]\n"
    with pytest.raises(StoreError, match=r"does not hold what its card says: 'config\.json'"):
        download_from_hub(NAME, endpoint=hub.url)


def test_a_repository_without_a_card_is_refused(hub: Hub) -> None:
    hub.repositories["someone/tiny"] = {"model.bin": b"pickle"}
    with pytest.raises(StoreError, match="no zoo entry"):
        download_from_hub(NAME, endpoint=hub.url)


def test_unknown_repositories_and_missing_logins_are_told(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="There is no 'hf-hub:someone/other', or it is private"):
        download_from_hub("hf-hub:someone/other", endpoint=hub.url)
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(StoreError) as caught:
        push_to_hub(folder, NAME, endpoint=hub.url)
    assert "HF_TOKEN" in str(caught.value.hint)
    assert "\n" not in caught.value.message


def test_no_answer_is_told(hub: Hub) -> None:
    with pytest.raises(StoreError, match="does not answer"):
        download_from_hub(NAME, endpoint="http://127.0.0.1:9")
    with pytest.raises(StoreError, match="not on this machine"):
        download_from_hub(NAME, offline=True, endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("text", ["hf-hub:alone", "hf-hub:a/b/c", "hf-hub:", "someone/tiny", "hf-hub:a/b c"])
def test_names_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(StoreError, match="not of the form") as caught:
        HubName.parse(text)
    assert caught.value.hint == ("Write hf-hub:someone/tiny" if text == "someone/tiny" else None)


@pytest.mark.parametrize(
    "text", ["hf:a/b", "hub:a/b", "hf_hub:a/b", "HF-HUB:a/b", "hf://a/b", "https://huggingface.co/a/b"]
)
def test_other_spellings_are_answered_with_ours(text: str) -> None:
    for use in (load_supernet, download_supernet, find, HubName.parse):
        with pytest.raises(UnknownNameError) as caught:
            use(text)
        assert caught.value.hint == "Write hf-hub:a/b"


def test_names_may_carry_a_revision() -> None:
    assert HubName.parse("hf-hub:a/b@v1.0") == HubName(repository="a/b", revision="v1.0")

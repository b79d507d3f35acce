"""How files that may leave this machine name places on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofa_toolkit.core.places import leads_back, portable, portable_document


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home" / "here").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home" / "here")


@pytest.mark.parametrize(
    ("text", "expected", "is_same"),
    [
        ("{tmp}/home/here/runs/mine", "runs/mine", True),
        ("{tmp}/home/here", ".", True),
        ("imagefolder:{tmp}/home/here/a b/photos", "imagefolder:a b/photos", True),
        ("npz:{tmp}/home/data/x.npz", "npz:~/data/x.npz", True),
        ("{tmp}/home/here/../net/", "~/net", True),
        ("{tmp}/else/net", "net", False),  # beside the user's own folder
        ("cifar10:/data/cifar/", "cifar10:cifar", False),
        ("runs/mine", "runs/mine", True),
        ("deps-compact-cifar10", "deps-compact-cifar10", True),
        ("hf-hub:user/repo", "hf-hub:user/repo", True),
        ("fake:classes=3", "fake:classes=3", True),
        ("12 of 30 / second", "12 of 30 / second", True),
    ],
)
def test_a_place_is_named_without_its_absolute_path(
    tmp_path: Path, text: str, expected: str, is_same: bool
) -> None:
    given = text.format(tmp=tmp_path)
    assert portable(given) == expected
    assert leads_back(given) == is_same


def test_a_place_beside_the_working_folder_is_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "disk" / "here")
    assert portable(f"npz:{tmp_path}/disk/data/x.npz") == "npz:../data/x.npz"
    assert leads_back(f"{tmp_path}/disk/data/x.npz")
    assert portable(f"{tmp_path}/home/net") == "~/net"


def test_the_root_is_no_folder_to_be_relative_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    monkeypatch.chdir("/")
    assert portable("/some/one/net") == "net"


def test_every_text_of_a_document(tmp_path: Path) -> None:
    document = {"a": [str(tmp_path / "x"), 1], "b": {"c": (None, f"npz:{tmp_path}/y.npz")}, "d": True}
    assert portable_document(document) == {"a": ["x", 1], "b": {"c": [None, "npz:y.npz"]}, "d": True}

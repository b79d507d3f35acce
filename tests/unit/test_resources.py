"""Where data lies: bundled, of the user, and given; and what hides what."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import OfaToolkitError, UnknownNameError


@pytest.fixture
def user_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user"
    monkeypatch.setenv("OFA_TK_DATA", str(folder))
    return folder


def make_device(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "device.toml").write_text("")
    return folder / name


def test_bundled_folders_exist() -> None:
    for kind in resources.KINDS:
        assert resources.data_path(kind).is_dir()
    with pytest.raises(UnknownNameError, match="'tables'"):
        resources.data_path("tables")  # type: ignore[arg-type]


def test_user_folders_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("OFA_TK_DATA", raising=False)
    monkeypatch.setenv("OFA_TK_CACHE", "")
    assert resources.cache_path() == tmp_path / ".cache" / "ofa-toolkit"
    assert resources.user_data_path() == tmp_path / ".local" / "share" / "ofa-toolkit"
    monkeypatch.setenv("OFA_TK_CACHE", "~/elsewhere")
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    assert resources.cache_path() == tmp_path / "elsewhere"
    assert resources.user_data_path("zoo") == tmp_path / "data" / "zoo"


def test_given_hides_user_hides_bundled(tmp_path: Path, user_data: Path) -> None:
    mine = make_device(user_data / "latency_tables", "board")
    make_device(user_data / "latency_tables", "other")
    given = make_device(tmp_path / "given", "board")
    (user_data / "latency_tables" / "not-a-device").mkdir()
    assert resources.find_entry("latency_tables", "board").path == mine
    entry = resources.find_entry("latency_tables", "board", [tmp_path / "given"])
    assert (entry.path, entry.origin) == (given, "given")
    found = resources.entries("latency_tables", [tmp_path / "given"])
    assert {"board", "other"} <= found.keys()
    assert "not-a-device" not in found
    assert list(found) == sorted(found)
    assert found["other"].origin == "user"


def test_recipes_are_files(user_data: Path) -> None:
    folder = user_data / "configs"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text("")
    (folder / "README.md").write_text("")
    found = resources.entries("configs")
    assert found["mine"].origin == "user"
    assert "README" not in found


def test_unknown_entry_and_folder(tmp_path: Path, user_data: Path) -> None:
    make_device(user_data / "latency_tables", "pixel-phone")
    with pytest.raises(UnknownNameError, match="Unknown device 'pixel-fone'") as caught:
        resources.find_entry("latency_tables", "pixel-fone")
    assert caught.value.hint == "Did you mean 'pixel-phone'?"
    with pytest.raises(OfaToolkitError, match="No such folder"):
        resources.entries("zoo", [tmp_path / "none"])

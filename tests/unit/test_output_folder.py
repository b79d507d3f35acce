"""Output folders: whole at every moment, foreign files never touched, only our own replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import OutputError
from ofa_toolkit.core.output_folder import MANIFEST, check_output_folder, output_folder, read_manifest

SCRIPT = Path(__file__).with_name("kill_points.py")


def write(folder: Path, *, replace: bool = False, force: bool = False, **content: str) -> None:
    with output_folder(folder, "network", replace=replace, force=force) as staging:
        for name, text in content.items():
            (staging / name).write_text(text)


def content_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def test_a_new_folder_appears_whole_with_its_manifest(tmp_path: Path) -> None:
    with output_folder(tmp_path / "far" / "run", "network") as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "file").write_text("x")
        assert not (tmp_path / "far" / "run").exists()
    assert content_of(tmp_path / "far") == {"run/sub/file": "x"}
    manifest = read_manifest(tmp_path / "far" / "run")
    assert manifest is not None
    assert (manifest.kind, list(manifest.files), manifest.is_complete) == ("network", ["sub/file"], True)


def test_the_current_folder_is_written_to_where_it_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(), a="1")
    assert Path("a").read_text() == "1"  # the shell's folder is still this one
    with pytest.raises(OutputError, match="exists already"):
        check_output_folder(".", "network")
    write(Path(), a="2", force=True)
    assert content_of(Path()) == {"a": "2"}


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_without_our_manifest_is_refused(tmp_path: Path, force: bool) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "model.py").write_text("code")
    for broken in (None, "{", '{"format": "other"}', "[" * 100_000):
        if broken is not None:
            (tmp_path / MANIFEST).write_text(broken)
        with pytest.raises(OutputError, match="holds files") as caught:
            write(tmp_path, a="1", replace=True, force=force)
        assert str(caught.value.hint).endswith(f"'{tmp_path}-2'.")
        assert content_of(tmp_path) == {"src/model.py": "code"}


def test_a_manifest_may_not_point_outside(tmp_path: Path) -> None:
    write(tmp_path / "out", a="1")
    document = json.loads((tmp_path / "out" / MANIFEST).read_text())
    for name in ("../thesis.txt", "/etc/passwd"):
        document["files"] = {name: ["0" * 64]}
        (tmp_path / "out" / MANIFEST).write_text(json.dumps(document))
        assert read_manifest(tmp_path / "out") is None


def test_hints_name_a_folder_that_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes").write_text("x")
    Path("network").mkdir()
    with pytest.raises(OutputError) as caught:
        check_output_folder(".", "network", force=True)
    assert "'network-2'" in str(caught.value.hint)


def test_foreign_files_stay_with_and_without_force(tmp_path: Path) -> None:
    out = tmp_path / "network"
    write(out, a="1", b="1")
    (out / "notes.txt").write_text("mine")
    write(out, a="2", c="2", replace=True)
    assert content_of(out) == {"a": "2", "c": "2", "notes.txt": "mine"}
    write(out, a="3", force=True)
    assert content_of(out) == {"a": "3", "notes.txt": "mine"}
    with pytest.raises(OutputError, match=r"notes\.txt' is in the way"):
        write(out, **{"notes.txt": "ours"}, force=True)
    assert content_of(out) == {"a": "3", "notes.txt": "mine"}
    # The very same content is in nobody's way, and stays the user's.
    write(out, **{"a": "4", "notes.txt": "mine"}, force=True)
    write(out, a="5", force=True)
    assert content_of(out) == {"a": "5", "notes.txt": "mine"}


def test_former_output_needs_leave_and_another_kind_needs_force(tmp_path: Path) -> None:
    out = tmp_path / "network"
    write(out, a="1")
    with pytest.raises(OutputError, match="exists already and holds a network") as caught:
        write(out, a="2")
    assert "--force" in str(caught.value.hint)
    with pytest.raises(OutputError, match="holds a network"), output_folder(out, "bundle", replace=True):
        pass
    with output_folder(out, "bundle", force=True) as staging:
        (staging / "model").write_text("x")
    assert content_of(out) == {"model": "x"}


def test_a_file_that_was_changed_since_needs_force(tmp_path: Path) -> None:
    out = tmp_path / "network"
    write(out, labels="cat", card="x")
    (out / "labels").write_text("dog")
    with pytest.raises(OutputError, match=r"labels' was changed"):
        write(out, labels="cat", replace=True)
    (out / "card").unlink()
    write(out, card="y", force=True)
    # Nothing takes its place: it has become the user's.
    assert content_of(out) == {"labels": "dog", "card": "y"}


def test_a_folder_in_the_place_of_a_file_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "network"
    write(out, a="1")
    (out / "a").unlink()
    (out / "a").mkdir()
    (out / "a" / "mine").write_text("x")
    with pytest.raises(OutputError, match="in the way"):
        write(out, a="2", force=True)
    with pytest.raises(OutputError, match="not a folder"):
        write(out / "a" / "mine", a="2", force=True)
    assert content_of(out) == {"a/mine": "x"}


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "network"
    write(out, a="1")
    before = sorted(path.name for path in out.iterdir())

    def fail(folder: Path) -> None:
        with output_folder(folder, "network", replace=True) as staging:
            (staging / "a").write_text("2")
            raise KeyboardInterrupt

    for folder in (out, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            fail(folder)
    assert sorted(path.name for path in out.iterdir()) == before
    assert content_of(tmp_path) == {"network/a": "1"}


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", a="1")
    assert (tmp_path / "link").is_symlink()
    assert content_of(tmp_path / "real") == {"a": "1"}


def kills(folder: Path, mode: str) -> list[dict[str, dict[str, str]]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, mode], env=environment, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("place", "mode"), [("a", "replace"), ("c", "new"), ("empty", "new")])
def test_killed_at_any_moment_every_file_is_whole_and_the_next_call_completes(
    tmp_path: Path, place: str, mode: str
) -> None:
    old = {"out/a": "old a", "out/sub/b": "old b", "out/gone/d": "old d", "out/thesis.txt": "mine"}
    new = {"out/a": "new a", "out/sub/b": "new b", "out/c": "new c"}
    foreign = {} if mode == "new" else {"out/thesis.txt": "mine"}
    states = kills(tmp_path / place, mode)
    assert len(states) > 8
    seen = set()
    for state in states:
        visible = {
            name: text
            for name, text in state["killed"].items()
            if not any(part.startswith(".") for part in Path(name).parts)
        }
        assert foreign.items() <= visible.items()
        for name, text in visible.items():
            assert text in (old.get(name), new.get(name))
        if mode != "new":
            assert {"out/a", "out/sub/b"} <= visible.keys()
        seen.add(tuple(sorted(visible.items())))
        state["completed"].pop(f"out/{MANIFEST}")
        assert state["completed"] == new | foreign
    # Killed before, after, and (where files are exchanged) in the middle.
    assert len(seen) >= (2 if place == "c" else 4)


def test_hidden_temporaries_alone_leave_a_folder_empty(tmp_path: Path) -> None:
    files.temporary_sibling(tmp_path / "output").mkdir()
    check_output_folder(tmp_path, "network")

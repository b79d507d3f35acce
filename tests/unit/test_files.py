"""Writing files: the old content or the new, no leftovers, nothing of others overwritten."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import OutputError

TAGGED = json.dumps({"format": "ofa-toolkit/subnet", "version": 1})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_appended_lines_stay_apart_from_one_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a" / "log.jsonl"
    files.append_lines(path, "one", "two")
    files.append_lines(path, "three")
    assert path.read_text() == "one\ntwo\nthree\n"
    path.write_text("one\ntw")
    files.append_lines(path, "drei", "ä")
    assert path.read_text(encoding="utf-8").splitlines() == ["one", "tw", "drei", "ä"]
    with pytest.raises(OutputError):
        files.append_lines(tmp_path, "a folder")


def test_write_makes_parents_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    files.write_text(path, "one\n")
    files.write_text(path, "two\r\n")
    assert path.read_bytes() == b"two\r\n"
    assert names(path.parent) == ["b.txt"]


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    files.write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_json_is_text_that_anyone_can_read(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"method": "DϵpS", "share": 0.5})
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n  "method": "DϵpS",\n  "share": 0.5\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "y.json", float("nan"))
    assert names(tmp_path) == ["x.json"]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("old")

    def fail() -> None:
        with files.atomic_path(path) as temporary:
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".onnx"
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["model.onnx"]


def test_errors_of_the_body_are_not_blamed_on_the_output(tmp_path: Path) -> None:
    def read_something_else() -> None:
        with files.atomic_path(tmp_path / "out"):
            (tmp_path / "input").read_text()

    with pytest.raises(FileNotFoundError, match="input"):
        read_something_else()


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Nothing was written"), files.atomic_path(tmp_path / "x"):
        pass
    assert names(tmp_path) == []


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="not a regular file"):
        files.write_text(tmp_path, "x")
    with pytest.raises(OutputError, match=r"Cannot write '.*file/below': (Not a directory|File exists)"):
        files.write_text(tmp_path / "file" / "below", "x")


def test_devices_are_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_text(pipe, "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(OutputError, match="not a regular file"), files.atomic_path(pipe):
        pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    temporary = files.temporary_sibling(tmp_path / "model.onnx")
    left = temporary.with_name(temporary.name.replace(f"-{os.getpid()}-", f"-{int(dead.stdout)}-"))
    of_another_host = left.with_name(left.name.replace(temporary.name.split(".")[2][:6], "0" * 6))
    for path in (temporary, left, of_another_host, tmp_path / ".model.notes.tmp.onnx"):
        path.write_text("half")
    files.write_text(tmp_path / "other.onnx", "x")
    assert left.exists()
    files.write_text(tmp_path / "model.onnx", "x")
    assert names(tmp_path) == sorted(
        [temporary.name, of_another_host.name, ".model.notes.tmp.onnx", "model.onnx", "other.onnx"]
    )


def make_foreign_json(path: Path) -> None:
    path.write_text('{"format": "other/subnet"}')


def make_text(path: Path) -> None:
    path.write_text("my notes")


def make_list(path: Path) -> None:
    path.write_text("[1, 2]")


def make_binary(path: Path) -> None:
    path.write_bytes(b"\xff\x00")


def make_broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def test_default_output_of_ours_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "subnet.json"
    path.write_text(TAGGED)
    assert files.check_output(path, is_default=True, force=False) == path
    with pytest.raises(OutputError, match="exists already"):
        files.check_output(path, is_default=False, force=False)
    files.check_output(path, is_default=False, force=True)


@pytest.mark.parametrize("make", [make_foreign_json, make_text, make_list, make_binary, make_broken_link])
def test_anything_else_needs_force(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "subnet.json"
    make(path)
    with pytest.raises(OutputError, match="was not written by ofa-toolkit") as caught:
        files.check_output(path, is_default=True, force=False)
    assert caught.value.hint is not None
    assert "--force" in caught.value.hint
    files.check_output(path, is_default=True, force=True)


def test_a_folder_is_never_taken_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        files.check_output(tmp_path, is_default=False, force=True)


def test_toml_tags_and_own_judges_count(tmp_path: Path) -> None:
    table = tmp_path / "table.toml"
    table.write_text('format = "ofa-toolkit/latency-table"\n')
    assert files.carries_format_tag(table)
    model = tmp_path / "model.onnx"
    model.write_bytes(b"onnx")
    files.check_output(model, is_default=True, force=False, is_ours=lambda path: path.read_bytes() == b"onnx")


def test_a_free_name_needs_nothing(tmp_path: Path) -> None:
    files.check_output(tmp_path / "new", is_default=False, force=False)
    files.check_output("/dev/null", is_default=False, force=False)

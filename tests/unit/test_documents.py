"""Reading users' text files: what Windows tools write, and one line for what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofa_toolkit.core import toml
from ofa_toolkit.core.documents import (
    check_brackets,
    damage_explained,
    parse_json,
    read_json,
    read_json_lines,
    read_object,
    read_text,
)
from ofa_toolkit.core.errors import FileFormatError

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes('{"a": "ü"}'.encode(encoding))
    assert read_json(path) == {"a": "ü"}
    path.write_bytes('a = "ü"\r\nb = 1\r\n'.encode(encoding))
    assert toml.load(path) == {"a": "ü", "b": 1}


def test_other_bytes_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("a = 1\nb = 'ü'\n".encode("latin-1"))
    with pytest.raises(FileFormatError, match="is not UTF-8 text: line 2 holds other bytes"):
        read_text(path)
    with pytest.raises(FileFormatError, match="Is a directory"):
        read_text(tmp_path)
    with pytest.raises(FileFormatError, match="No such file"):
        read_text(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[1e400]", "1e400 is beyond all numbers"),
        ("{", "not valid JSON"),
        ('{"r": 1, "r": 2}', "the key 'r' stands twice"),
        ("[NaN]", "NaN is no number of JSON"),
        ("[-Infinity]", "no number of JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * 70 + "]" * 70, "nested too deeply"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested too deeply"),
        ("1" * 5000, "not valid JSON"),
    ],
)
def test_bad_json_is_one_line(text: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        parse_json(text, "It")
    assert "\n" not in caught.value.message


def test_an_object_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("[1]")
    with pytest.raises(FileFormatError, match="is not a front: it holds no JSON object"):
        read_object(path, "a front")
    with pytest.raises(FileFormatError) as caught:
        read_object(tmp_path / "none", "a front", hint="write one")
    assert caught.value.hint == "write one"


@pytest.mark.parametrize(
    "line",
    [
        r'source = "npz:C:\Users\me\cifar.npz"',
        r'source = "C:\temp\new.npz"',
        r'source = "imagefolder:d:\binary"',
        r'source = "\\server\share"',
    ],
)
def test_windows_paths_between_double_quotes(line: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"[data]\n{line}\n")
    with pytest.raises(FileFormatError) as caught:
        toml.load(path)
    assert caught.value.hint is not None
    assert "single quotes or with /" in caught.value.hint
    path.write_text("[data]\n" + line.replace('"', "'"))
    assert "\\" in toml.load(path)["data"]["source"]


def test_other_errors_of_toml_do_not_speak_of_paths(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("a = \n")
    with pytest.raises(FileFormatError) as caught:
        toml.load(path)
    assert caught.value.hint is None
    path.write_text("a = " + "[" * 5000)
    with pytest.raises(FileFormatError, match="nested too deeply"):
        toml.load(path)
    path.write_text("a = " + "[" * 70 + "]" * 70)
    with pytest.raises(FileFormatError, match="nested too deeply"):
        toml.load(path)


def test_a_damaged_line_is_none_and_the_others_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b'{"a": 1}\n\n\xff\xfe{\n[1]\n{"a": ' + b"[" * 5000 + b'\n{"a": 2}\n{"a"')
    found = [(1, {"a": 1}), (3, None), (4, None), (5, None), (6, {"a": 2}), (7, None)]
    assert list(read_json_lines(path)) == found


def test_what_no_schema_checked_is_damage() -> None:
    for damage in (lambda: {}["a"], lambda: len(3), lambda: None.x, lambda: 1 / 0, lambda: int("x")):  # type: ignore[arg-type, attr-defined]
        with pytest.raises(FileFormatError, match="'a file' is damaged: "), damage_explained("'a file'"):
            damage()


def test_brackets_are_counted_before_a_slow_parser_sees_them() -> None:
    check_brackets("[{}] " * 1000, "'a file'")
    with pytest.raises(FileFormatError, match="nested too deeply"):
        check_brackets("a: " + "[" * 65, "'a file'")

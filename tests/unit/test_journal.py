"""Journals: what a crash leaves of them, and whether one may be gone on with."""

from __future__ import annotations

from pathlib import Path

from ofa_toolkit.core.journal import Journal
from tests.heard import Heard


def test_what_was_written_is_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert Journal(path).lines == []
    assert not path.exists()
    Journal(path).append({"type": "header", "seed": 1}, {"type": "result", "x": 1.5})
    journal = Journal(path)
    journal.append({"type": "result", "x": 2})
    assert journal.lines == Journal(path).lines
    assert [line["x"] for line in Journal(path).of_type("result")] == [1.5, 2]
    assert journal.other_than({"type": "header", "seed": 1}) is None
    assert journal.other_than({"type": "header", "seed": 2}) == "seed"
    assert journal.other_than({"type": "header", "space": "x"}) == "space"


def test_a_damaged_line_is_dropped_with_a_word(tmp_path: Path) -> None:
    path, heard = tmp_path / "a.jsonl", Heard()
    path.write_text('{"x": 1}\n[2]\n{"x": "other"}\n{"x": 3, "y')
    journal = Journal(path, heard, is_line=lambda line: isinstance(line["x"], int))
    assert journal.lines == [{"x": 1}]
    assert heard.messages == [f"'{path}': dropped damaged or cut-off line(s) 2, 3, 4."]
    journal.append({"x": 4})
    assert [line["x"] for line in Journal(path).lines] == [1, "other", 4]

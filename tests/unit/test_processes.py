"""Under torchrun a command's result is printed once, whether its work is shared or not."""

from __future__ import annotations

import json
import os

import pytest

from ofa_tk.app import run

SHARED = ["train"]
ALONE = ["spaces", "list"]


@pytest.fixture
def as_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two that torchrun started."""
    for name, value in {
        "TORCHELASTIC_RUN_ID": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "RANK": "0",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("words", [SHARED, [*SHARED, "--json"], ALONE, [*ALONE, "--json"]], ids=" ".join)
@pytest.mark.usefixtures("as_process")
def test_only_the_first_process_prints(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 0
    first = capsys.readouterr()
    assert first.out
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(words) == 0
    assert capsys.readouterr() == ("", "")
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name)
    assert run(words) == 0
    alone = capsys.readouterr()
    assert alone.out == first.out
    note = "ofa-tk spaces works in one process; the others that torchrun started have ended.\n"
    assert first.err == (note if words[0] == "spaces" else "") + alone.err


@pytest.mark.usefixtures("as_process")
def test_each_process_tells_its_error_and_the_first_writes_the_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--recipe", "xyzzy", "--data", "fake", "--out", "run", "--json"]
    assert run(words) == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "UnknownNameError"
    monkeypatch.setenv("RANK", "1")
    assert run(words) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Unknown recipe 'xyzzy'" in printed.err


@pytest.mark.usefixtures("as_process")
def test_what_a_command_that_works_alone_starts_knows_of_no_others() -> None:
    assert run(ALONE) == 0
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & set(os.environ)
    assert run(SHARED) == 0


def test_a_rank_without_torchrun_silences_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(ALONE) == 0
    assert capsys.readouterr().out

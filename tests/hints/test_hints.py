"""Every line that proposes a command: printed where it should be, and what it proposes runs there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ofa_tk.app import run
from tests.hints.given import make
from tests.hints.situation import Situation
from tests.hints.situations import SITUATIONS


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.line[:60])
def test_every_command_of_a_line_is_run(situation: Situation) -> None:
    assert situation.untested() == []


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("given")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of a user without network, tables or downloads."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OFA_TK_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return here


@pytest.mark.parametrize(
    "situation",
    [pytest.param(s, marks=pytest.mark.slow if s.is_slow else ()) for s in SITUATIONS],
    ids=lambda s: s.line[:60],
)
def test_what_a_line_proposes_runs(
    situation: Situation, folder: Path, kept: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make(situation.given, folder, kept)
    capfd.readouterr()
    if situation.typed:
        run(situation.words())
        printed = capfd.readouterr()
        lines = (printed.out + printed.err).splitlines()
        assert situation.line in [re.sub(r"^(Hint|Next): ", "", line) for line in lines], printed
    for part, problem in situation.runs.items():
        words = situation.command(part)
        code = run(words)
        printed = capfd.readouterr()
        if problem:
            assert code != 0, words
            assert re.search(problem, printed.err), (words, printed.err)
            assert "unexpected" not in printed.err
        else:
            assert code == 0, (words, printed.err)

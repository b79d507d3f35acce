"""Every line that proposes a command: printed where it should be, and what it proposes runs there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import pytest

from ofa_tk.app import cli, run
from ofa_tk.session import Session
from ofa_toolkit.core.errors import FileFormatError
from tests.hints.given import make
from tests.hints.situation import PARSED, Situation
from tests.hints.situations import SITUATIONS
from tests.hints.templates import templates

TEMPLATES = templates()


def test_every_line_has_its_situation() -> None:
    lines = [situation.line for situation in SITUATIONS]
    assert [str(t) for t in TEMPLATES if not any(map(t.matches, lines))] == []


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.line[:60])
def test_every_command_of_a_line_is_run(situation: Situation) -> None:
    assert situation.untested() == []
    assert bool(situation.typed) != bool(situation.unseen)
    if situation.unseen:
        assert any(template.matches(situation.line) for template in TEMPLATES)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.line[:60])
def test_every_command_of_a_line_is_read(situation: Situation) -> None:
    for part, problem in situation.runs.items():
        if problem in ("", PARSED):
            parse(situation.command(part))


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("given")


@pytest.fixture(scope="session")
def seen() -> set[tuple[object, ...]]:
    """Commands that were run to their end, with what they were given."""
    return set()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of a user without network, tables or downloads."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OFA_TK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return here


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "situation",
    [pytest.param(s, marks=() if s.is_quick else pytest.mark.slow) for s in SITUATIONS],
    ids=lambda s: s.line[:60],
)
def test_what_a_line_proposes_runs(
    situation: Situation,
    folder: Path,
    kept: Path,
    seen: set[tuple[object, ...]],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(situation.given, folder, kept)
    capfd.readouterr()
    if situation.typed:
        run(situation.words())
        printed = capfd.readouterr()
        text = (folder / situation.file).read_text() if situation.file else printed.out + printed.err
        lines = [re.sub(r"^(Error|Hint|Next|Warning): ", "", line.strip()) for line in text.splitlines()]
        assert situation.line in lines, printed
    for number, (part, problem) in enumerate(situation.runs.items()):
        words = situation.command(part)
        if len(situation.runs) > 1:  # either command is the next one
            monkeypatch.chdir(shutil.copytree(folder, folder.with_name(f"choice {number}")))
        key = (situation.given, situation.typed if situation.file else "", *words)
        if problem == PARSED:
            parse(words)
        elif key not in seen:
            code = run(words)
            error = capfd.readouterr().err
            assert "unexpected" not in error
            assert (code != 0) == bool(problem), (words, error)
            assert re.search(problem, error), (words, error)
            seen.add(key)


def parse(words: list[str]) -> None:
    """Read the options of a command as the program does, without running it; files need not be there."""
    context = cli.make_context("ofa-tk", list(words), obj=Session(is_json=False))
    try:
        while isinstance(context.command, click.Group):
            rest = [*context._protected_args, *context.args]
            if not rest:
                return
            name, command, rest = context.command.resolve_command(context, rest)
            assert command is not None
            context = command.make_context(name, rest, parent=context)
    except click.exceptions.Exit:
        pass  # --help
    except FileFormatError as error:
        if "No such f" not in error.message:
            raise

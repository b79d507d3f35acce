"""What holds for every command and subcommand: help that can be read, options that are explained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ofa_tk import app


def walk(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from walk(inner, click.Context(inner, info_name=name, parent=context))


ROOT = click.Context(app.cli, info_name="ofa-tk", **app.cli.context_settings, terminal_width=80)
EVERY = list(walk(app.cli, ROOT))


@pytest.mark.parametrize(("path", "command", "context"), EVERY, ids=[path for path, _, _ in EVERY])
def test_help_is_complete(path: str, command: click.Command, context: click.Context) -> None:
    text = command.get_help(context)
    if not isinstance(command, click.Group):
        assert any("--json" in parameter.opts for parameter in command.params), f"{path} needs --json"
    assert command.help, f"{path} needs a docstring"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.hidden or parameter.help, f"{path} {parameter.opts[0]} needs help"
    if isinstance(command, click.Group):
        listing = text[text.index("Commands:") :]
        assert "..." not in listing, f"the first sentence of a subcommand of {path} is too long:\n{listing}"


@pytest.mark.parametrize("path", [path for path, _, _ in EVERY])
def test_unknown_options_are_usage_errors(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([*path.split()[1:], "--no-such-option"]) == 2
    captured = capsys.readouterr()
    assert "No such option" in captured.err
    assert captured.out == ""


REQUIRED = [
    (f"{path} {part.name}", part) for path, command, _ in EVERY for part in command.params if part.required
]


@pytest.mark.parametrize(("name", "part"), REQUIRED, ids=[name for name, _ in REQUIRED])
def test_what_is_missing_is_a_usage_error(name: str, part: click.Parameter) -> None:
    with pytest.raises(click.MissingParameter):
        click.Command(name, params=[part]).make_context(name, [])


def test_required_fields_of_requests_are_among_them() -> None:
    names = {name for name, _ in REQUIRED}
    assert {"ofa-tk evaluate data", "ofa-tk finetune out", "ofa-tk latency kit run host"} <= names
    assert app.run(["evaluate", "--supernet", "x"]) == 2


def test_only_the_output_module_prints() -> None:
    """It is what keeps control characters of cards and file names from the terminal."""
    printing = re.compile(r"\bclick\.s?echo\b|\bstd(out|err)\.write|console\.print")
    folder = Path(app.__file__).parent
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if printing.search(path.read_text(encoding="utf-8"))
    }
    assert found - {"reporter.py"} == {"output.py"}  # the former lets rich print above its bar


@pytest.mark.parametrize(
    "line",
    [
        "search --macs 8M --tables nowhere",
        "lint nowhere.onnx --target jetson-nano",
        "benchmark nowhere.onnx",
        "verify nowhere.onnx",
        "extract --subnet nowhere.json --out network",
        "latency audit nowhere.csv",
        "latency import nowhere.csv --device my-board",
        "latency predict nowhere.json --device jetson-nano",
        "report nowhere.json",
        "study run nowhere.toml --out study",
        "train --recipe nowhere.toml --data fake --out run",
        "spaces show nowhere.toml",
        "zoo package nowhere --name mine",
        "zoo import nowhere.pth --space ofa-resnet50 --out mine",
        "predictor show nowhere.safetensors",
    ],
)
def test_a_missing_file_is_an_error_of_ours(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.run(line.split()) == 1
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

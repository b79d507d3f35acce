"""The program around the commands: help, errors, exit codes, streams."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from ofa_tk import app
from ofa_toolkit import __version__
from ofa_toolkit.core.errors import ConfigError, OfaToolkitError

Captured = pytest.CaptureFixture[str]


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        """Fail."""
        click.echo("partial result")
        raise error

    return command


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, click.Command]:
    """Commands to fail with, by name."""
    commands: dict[str, click.Command] = {}
    monkeypatch.setattr(app.LazyGroup, "get_command", lambda _self, _ctx, name: _prepared(commands, name))
    monkeypatch.setattr(app, "COMMANDS", {"fail": ("", "Fail.")})
    return commands


def _prepared(commands: dict[str, click.Command], name: str) -> click.Command | None:
    command = commands.get(name)
    if command is not None:
        app._prepare(command)
    return command


def test_help_and_version(capsys: Captured) -> None:
    assert app.run(["--help"]) == 0
    assert "Commands:" in capsys.readouterr().out
    assert app.run([]) == 0
    assert "Commands:" in capsys.readouterr().out
    assert app.run(["--version"]) == 0
    assert capsys.readouterr().out == f"ofa-tk {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["docter"], "No such command 'docter'. Did you mean 'doctor'?"),
        (["zzzz"], "No such command 'zzzz'. Commands: "),
        (["spaces", "lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["spaces", "show"], "Missing argument 'NAME'."),
        (["doctor", "--jsn"], "No such option"),
        (["--degug"], "No such option"),
    ],
)
def test_wrong_usage_is_2(capsys: Captured, arguments: list[str], message: str) -> None:
    assert app.run(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_our_errors_are_one_line_and_a_hint(capsys: Captured, failing: dict[str, click.Command]) -> None:
    failing["fail"] = raising(ConfigError("epochs: 0 is out of range.", hint="Try 1."))
    assert app.run(["fail"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "Error: epochs: 0 is out of range.\nHint: Try 1.\n"
    failing["fail"] = raising(OfaToolkitError("No hint here."))
    assert app.run(["fail"]) == 1
    assert capsys.readouterr().err == "Error: No hint here.\n"


@pytest.mark.parametrize("arguments", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_adds_the_traceback(
    capsys: Captured, failing: dict[str, click.Command], arguments: list[str]
) -> None:
    failing["fail"] = raising(OfaToolkitError("Wrong."))
    assert app.run(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("Traceback (most recent call last)")
    assert error.endswith("\nError: Wrong.\n")


def test_bugs_are_admitted(capsys: Captured, failing: dict[str, click.Command]) -> None:
    failing["fail"] = raising(ZeroDivisionError("division by zero"))
    assert app.run(["fail"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: unexpected ZeroDivisionError: division by zero\nHint: This is a bug")
    assert "Traceback" not in error


def test_the_system_s_refusals_are_no_bugs(capsys: Captured, failing: dict[str, click.Command]) -> None:
    failing["fail"] = raising(PermissionError(13, "Permission denied", "/a/b"))
    assert app.run(["fail"]) == 1
    assert capsys.readouterr().err == "Error: Permission denied ('/a/b').\n"


def test_interruption_is_130(capsys: Captured, failing: dict[str, click.Command]) -> None:
    failing["fail"] = raising(KeyboardInterrupt())
    assert app.run(["fail"]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_a_reader_that_leaves_is_no_crash() -> None:
    """`ofa-tk ... | head -1`: no traceback, whatever the amount of output."""
    code = "import sys, click\nfrom ofa_tk.app import run\nsys.exit(run(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 1
    assert error == ""


def test_module_runs_as_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ofa_tk", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"ofa-tk {__version__}\n"

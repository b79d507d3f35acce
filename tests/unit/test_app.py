"""The program around the commands: help, errors, exit codes, streams."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import click
import pytest

from ofa_tk import app, options, output
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
        (["spaces", "show"], "Missing argument 'NAME|FILE.toml|DIR'."),
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


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "pymoo", "requests", "safetensors", "tensorboard"])
def test_a_missing_package_is_the_line_that_installs_it(
    capsys: Captured, failing: dict[str, click.Command], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)

    @click.command()
    def command() -> None:
        """Import it."""
        importlib.import_module(name)

    failing["fail"] = command
    assert app.run(["fail"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"Error: The package '{name}' is not installed."
    assert hint.startswith(f"Hint: pip install '{name}")


def test_other_imports_that_fail(capsys: Captured, failing: dict[str, click.Command]) -> None:
    for error, message in (
        (
            ImportError("cannot import name 'x' from 'onnx'", name="onnx"),
            "The package 'onnx' cannot be used: ",
        ),
        (ModuleNotFoundError("No module named 'PIL'", name="PIL"), "The package 'pillow'"),
        (ModuleNotFoundError("No module named '_lzma'", name="_lzma"), "This Python was built without its"),
        (ImportError("libfoo.so.1: cannot open"), "A package cannot be imported: libfoo.so.1"),
        (
            ModuleNotFoundError("No module named 'ofa_tk.x'", name="ofa_tk.x"),
            "unexpected ModuleNotFoundError",
        ),
    ):
        failing["fail"] = raising(error)
        assert app.run(["fail"]) == 1
        assert capsys.readouterr().err.startswith(f"Error: {message}")


@pytest.mark.parametrize(
    ("error", "document"),
    [
        (
            ConfigError("epochs: 0 is out of range.", hint="Try 1."),
            {
                "kind": "ConfigError",
                "message": "epochs: 0 is out of range.",
                "hint": "Try 1.",
                "exit_code": 1,
            },
        ),
        (
            OSError(28, "No space left on device"),
            {"kind": "OSError", "message": "No space left on device.", "hint": None, "exit_code": 1},
        ),
        (
            KeyboardInterrupt(),
            {"kind": "Interrupted", "message": "Interrupted.", "hint": None, "exit_code": 130},
        ),
    ],
)
def test_an_error_is_one_document_with_json(
    capsys: Captured, failing: dict[str, click.Command], error: BaseException, document: dict[str, object]
) -> None:
    @click.command()
    @options.json_option
    def command(as_json: bool) -> None:
        """Fail."""
        raise error

    failing["fail"] = command
    assert app.run(["fail", "--json"]) == document["exit_code"]
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": document}
    assert str(document["message"]) in captured.err


def test_wrong_usage_is_one_document_with_json(capsys: Captured) -> None:
    assert app.run(["spaces", "show", "--json", "--no-such"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "UsageError"
    assert "--no-such" in error["message"]


def test_findings_stay_the_only_document(capsys: Captured, failing: dict[str, click.Command]) -> None:
    @click.command()
    @options.json_option
    def command(as_json: bool) -> None:
        """Print findings, then fail by them."""
        output.print_json([1])
        raise OfaToolkitError("Found one.")

    failing["fail"] = command
    assert app.run(["fail", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == [1]


PROGRAM = [sys.executable, "-c", "from ofa_tk.app import main; main()"]


@pytest.mark.parametrize(
    ("arguments", "exit_code"), [(["--help"], 0), (["spaces", "list"], 0), (["spaces", "show", "x"], 1)]
)
def test_a_reader_that_leaves_changes_nothing(arguments: list[str], exit_code: int) -> None:
    """`ofa-tk ... 2>&1 | true`: no traceback, and the command's own exit code."""
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == exit_code


@pytest.mark.parametrize(
    ("encoding", "spelled"), [("latin-1", "DepS"), ("ascii", "DϵpS"), ("utf-8", "DϵpS"), ("cp1253", "DepS")]
)
def test_an_eight_bit_locale_spells_what_it_lacks(encoding: str, spelled: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([*PROGRAM, "--help"], capture_output=True, env=environment, check=True)
    assert f"Train a supernet by {spelled}," in done.stdout.decode(
        "utf-8" if encoding == "ascii" else encoding
    )
    assert done.stderr == b""


def test_a_traceback_obeys_no_escape(capsys: Captured, failing: dict[str, click.Command]) -> None:
    failing["fail"] = raising(OfaToolkitError("\x1b]0;owned\x07", hint="\x9b31m"))
    assert app.run(["fail", "--debug"]) == 1
    error = capsys.readouterr().err
    assert "\\x1b]0;owned\\x07" in error
    assert not {"\x1b", "\x07", "\x9b"} & set(error)


def test_module_runs_as_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ofa_tk", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"ofa-tk {__version__}\n"

"""Printing: whole rows into pipes, folded ones into narrow terminals, one JSON document."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest

from ofa_tk import options, output
from ofa_tk.output import Column
from ofa_tk.reporter import TerminalReporter
from ofa_toolkit.core import quantities
from ofa_toolkit.core.reporting import Progress

Captured = pytest.CaptureFixture[str]

COLUMNS = ["name", Column(name="MACs", is_number=True), "choices"]
ROWS = [("small", 5, "1, 2, 3"), ("larger-network", 12345, "4, 5, 6, 7, 8")]


def lines_at(monkeypatch: pytest.MonkeyPatch, capsys: Captured, width: int | None) -> list[str]:
    monkeypatch.setattr(output, "terminal_width", lambda: width)
    output.print_table(COLUMNS, ROWS)
    return click.unstyle(capsys.readouterr().out).splitlines()


WHOLE = [
    "name             MACs  choices",
    "small               5  1, 2, 3",
    "larger-network  12345  4, 5, 6, 7, 8",
]


def test_a_pipe_gets_whole_rows(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert lines_at(monkeypatch, capsys, None) == WHOLE


def test_a_wide_terminal_gets_the_same(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert lines_at(monkeypatch, capsys, 36) == WHOLE


@pytest.mark.parametrize("width", [35, 34, 32])
def test_a_narrow_terminal_folds_texts_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, width: int
) -> None:
    lines = lines_at(monkeypatch, capsys, width)
    assert max(len(line) for line in lines) <= width
    assert sorted(" ".join(lines).split()) == sorted(" ".join(WHOLE).split())


def test_a_tiny_terminal_gets_one_field_a_line(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    lines = lines_at(monkeypatch, capsys, 20)
    assert lines[:4] == ["name     small", "MACs     5", "choices  1, 2, 3", ""]
    output.print_table(["class", "%", "2.", "%"], [("chain saw", "98.6", "garbage truck", "1.4")])
    fields = click.unstyle(capsys.readouterr().out).splitlines()
    assert fields == ["class  chain saw", "%      98.6", "2.     garbage truck", "%      1.4"]


HOSTILE = "a\x1b[2J\x1b]0;b\x07\x9b31m\x7f\u202ec"
SHOWN = "a\\x1b[2J\\x1b]0;b\\x07\\x9b31m\\x7f\\u202ec"


def test_no_escape_of_others_reaches_the_terminal(capsys: Captured) -> None:
    output.line(HOSTILE)
    output.print_fields({"field": HOSTILE}, title=HOSTILE)
    output.print_table([HOSTILE], [[HOSTILE]], title=HOSTILE)
    output.note(HOSTILE)
    output.warn(HOSTILE)
    output.next_step(HOSTILE)
    output.error(HOSTILE, HOSTILE)
    captured = capsys.readouterr()
    assert captured.out.count(SHOWN) == 6
    assert captured.err.count(SHOWN) == 5
    output.print_json(HOSTILE)
    document = capsys.readouterr().out
    assert json.loads(document) == HOSTILE
    assert document.isascii()
    assert "\x1b" not in document


def test_long_values_of_fields_fold(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(output, "terminal_width", lambda: 40)
    output.print_fields({"batch norm": "recalibrated on 2000 training images of cifar10, folded", "x": ""})
    assert capsys.readouterr().out.splitlines() == [
        "batch norm  recalibrated on 2000",
        "            training images of cifar10,",
        "            folded",
        "x",
    ]


def test_json_is_one_document(capsys: Captured) -> None:
    @dataclass
    class Result:
        macs: int
        path: Path

    output.print_json({"r": Result(3, Path("a/b")), "n": np.float64(0.5), "a": np.arange(2), "name": "DϵpS"})
    assert json.loads(capsys.readouterr().out) == {
        "r": {"macs": 3, "path": "a/b"},
        "n": 0.5,
        "a": [0, 1],
        "name": "DϵpS",
    }
    with pytest.raises(ValueError, match="JSON"):
        output.print_json(float("nan"))
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        output.print_json(object())


def test_notes_go_to_stderr(capsys: Captured) -> None:
    output.note("a")
    output.warn("b")
    output.next_step("ofa-tk doctor")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "a\nWarning: b\nNext: ofa-tk doctor\n"


def test_progress_outside_a_terminal_is_a_line_a_tenth(capsys: Captured) -> None:
    with TerminalReporter() as reporter:
        for step in range(41):
            reporter.progress(Progress("train", step, 40))
        reporter.message("next")
        reporter.progress(Progress("export", 0, 2, facts="fp16", seconds_left=3720))
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.partition("  ")[0] for line in lines[:11]] == [
        f"train: {step}/40" for step in range(0, 41, 4)
    ]
    assert lines[0] == "train: 0/40"
    assert lines[1].endswith(" left")
    assert lines[10:] == ["train: 40/40", "next", "export: 0/2  fp16  about 1 h 02 min left"]


def test_quantity_option() -> None:
    latency = options.Quantity(quantities.LATENCY)
    assert latency.convert("1.5s", None, None) == 1500.0
    assert latency.convert(20.0, None, None) == 20.0
    with pytest.raises(click.BadParameter) as caught:
        latency.convert("20xs", None, None)
    assert caught.value.message.startswith("'20xs': unknown unit 'xs' for a latency;")
    assert caught.value.message.endswith("Did you mean 20s?")


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output.terminal_width() is None
    monkeypatch.setenv("COLUMNS", "60")
    assert output.terminal_width() == 60
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_args, **_kwargs: os.terminal_size((53, 24)))
    assert output.terminal_width() == 53

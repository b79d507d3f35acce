"""Measuring a board over ssh: against a real sshd, with broken connections, a reboot, and wrong requests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ofa_tk.app import run
from ofa_toolkit.core.errors import FileFormatError, MeasurementError, OutputError
from ofa_toolkit.latency.importing import ImportContext
from ofa_toolkit.latency.importing.kit_results import read_kit_results
from ofa_toolkit.latency.kit.ssh import Board, ConnectionBrokenError
from ofa_toolkit.latency.table import load_table
from ofa_toolkit.pipelines.latency import importing
from ofa_toolkit.pipelines.latency.kit_run import Clock, measure_board
from ofa_toolkit.pipelines.latency.request import BoardRequest
from tests.heard import Heard
from tests.unit.latency.board_stand_in import running_board
from tests.unit.latency.trtexec_stand_in import write_stand_in

SPACE = "mobilenet-v3-compact-compound"

# Before network 2 the connection breaks, before network 4 the whole board reboots.
_TRTEXEC = """#!/bin/sh
case "$*" in *--onnx*) echo >> $HOME/calls;; esac
case "$(wc -l < $HOME/calls 2>/dev/null)" in
2) [ -e $HOME/broke ] || { touch $HOME/broke; kill -9 $(cat $HOME/session); rm $HOME/session; } ;;
4) [ -e $HOME/off ] || { touch $HOME/off; kill -9 $PPID $(cat $HOME/session 2>/dev/null); exit 1; } ;;
esac
exec $HOME/bin/real/trtexec "$@"
"""


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importing, "prior_tables", lambda *_args, **_options: [])


def test_a_board_is_measured_through_a_broken_connection_and_a_reboot(tmp_path: Path) -> None:
    with running_board(tmp_path) as board:
        programs = tmp_path / "home" / "bin"
        (programs / "real").mkdir()
        write_stand_in(programs / "real" / "trtexec", "8.2")
        (programs / "trtexec").write_text(_TRTEXEC)
        (programs / "trtexec").chmod(0o755)
        (programs / "nvpmodel").write_text("#!/bin/sh\necho 'NV Power Mode: MODE_10W_2CORE'\necho 1\n")
        (programs / "nvpmodel").chmod(0o755)
        heard, clock = Heard(), Clock(pause=lambda _seconds: None)
        request = BoardRequest(board=board, space=SPACE, num_probes=4)
        report = measure_board(request, heard, clock=clock)
        assert report.table == "board:own-measurements-tensorrt-fp16-1-10w-2core"
        assert load_table("board").variant.power_mode == "10w-2core"
        assert any("broke" in note for note in heard.messages)
        assert any("less than a minute left" in note for note in heard.messages)
        measured = read_kit_results([Path("results.jsonl")], ImportContext())
        assert len(measured.networks) == 4
        assert measured.conditions.runtime_version == "8.2.1"
        results = list((tmp_path / "home").glob(".cache/ofa-toolkit/kits/*/results-*.jsonl"))
        lines = [json.loads(line) for line in results[0].read_text().splitlines()]
        probes = [line["probe"] for line in lines if line["type"] == "result"]
        assert sorted(probes) == ["000", "001", "002", "003"]  # nothing was measured twice
        assert [line["type"] for line in lines].count("session") == 2
        with pytest.raises(OutputError, match="already has a table"):
            measure_board(request, clock=clock)
        with pytest.raises(MeasurementError, match="onnxruntime cannot be used"):
            measure_board(BoardRequest(board=board, space=SPACE, back_end="onnxruntime"), clock=clock)
        with pytest.raises(MeasurementError, match=r"'python9' does not run on board"):
            measure_board(BoardRequest(board=board, space=SPACE, python="python9"), clock=clock)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed here.")
def test_a_board_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host nowhere\nHostName 127.0.0.1\nPort 1\n")
    board = Board(host="nowhere", config=tmp_path / "config")
    with pytest.raises(ConnectionBrokenError, match=r"Cannot reach 'nowhere': .*refused"):
        board.run(["true"])
    with pytest.raises(MeasurementError, match="no host"):
        Board(host="-oProxyCommand=reboot")


def test_what_comes_after_is_checked_before(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["latency", "kit", "run", "--ssh", "nowhere"]
    assert run([*line, "--then", "train"]) == 2
    assert "--then search" in capsys.readouterr().err
    assert run([*line, "--then", "search", "--latenci", "20ms"]) == 2
    assert "--latency" in capsys.readouterr().err
    assert run([*line, "--json", "--then", "search"]) == 2
    capsys.readouterr()


def test_modes_are_not_mixed(tmp_path: Path) -> None:
    session = {
        "type": "session",
        "format": "ofa-toolkit/kit-results",
        "version": 1,
        "power_mode": "MAXN",
    }
    path = tmp_path / "both.jsonl"
    path.write_text("\n".join(json.dumps({**session, "power_mode": mode}) for mode in ("MAXN", "5W")))
    with pytest.raises(FileFormatError, match="power_mode 'MAXN' and '5W'"):
        read_kit_results([path], ImportContext())

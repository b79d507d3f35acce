"""`ofa-tk quickstart` on the bundled supernet: everything it prints is computed, and its files hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ofa_tk.app import cli


def test_quickstart_then_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["quickstart", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    rows = document["rows"]
    assert len(rows) == 3
    for row in rows:
        assert row["predicted_ms"] <= row["budget_ms"]
        assert row["measured_ms"] > 0
        assert row["max_relative_error"] <= 1e-4
        assert Path(row["onnx_file"]).is_file()
    assert [row["macs"] for row in rows] == sorted(row["macs"] for row in rows)
    assert [row["top1_percent"] for row in rows] == sorted(row["top1_percent"] for row in rows)
    assert {"largest", "smallest"} <= {fact["subnet"] for fact in document["card"]}
    tables = ["--tables", "quickstart/latency_tables"]
    verified = CliRunner().invoke(cli, ["verify", rows[1]["onnx_file"], *tables], catch_exceptions=False)
    assert verified.exit_code == 0, verified.output


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    Path("quickstart/diary.txt").write_text("dear")
    result = CliRunner().invoke(cli, ["quickstart"], standalone_mode=False)
    assert "holds files" in str(result.exception)
    assert [path.name for path in Path("quickstart").iterdir()] == ["diary.txt"]

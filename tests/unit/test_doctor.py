"""`ofa-tk doctor`: true findings, and exit 1 with the fix where something required is broken."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from ofa_tk import app
from ofa_toolkit.pipelines import doctor

Captured = pytest.CaptureFixture[str]


def test_a_sound_installation(capsys: Captured) -> None:
    assert app.run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["is_ok"] is True
    found = {check["name"]: check for check in report["checks"]}
    assert found["torch"]["detail"] == importlib.metadata.version("torch")
    assert {"cpu", "onnxruntime", "tensorrt", "trtexec", "zoo", "cache"} <= found.keys()
    assert "CPU" in next(c["detail"] for c in report["checks"] if c["group"] == "back ends")


def test_table(capsys: Captured) -> None:
    assert app.run(["doctor"]) == 0
    assert "packages" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OFA_TK_CACHE", str(tmp_path / "file" / "cache"))
    assert app.run(["doctor", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["is_ok"] is False
    assert (
        captured.err
        == "Error: Required and broken: cache.\nHint: set OFA_TK_CACHE to a folder you can write to\n"
    )
    assert not (tmp_path / "file" / "cache").exists()


def test_the_folders_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "a" / "b"))
    (check,) = (check for check in doctor.diagnose() if check.name == "user data")
    assert check.status == "ok"
    assert list(tmp_path.iterdir()) == []


def test_missing_and_outdated_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        version = "1"
        requires = (
            "click>=999",
            "no-such-package-at-all>=1",
            "colorama; sys_platform == 'win32'",
            "click>=8",
        )

    real = importlib.metadata.distribution
    monkeypatch.setattr(
        importlib.metadata,
        "distribution",
        lambda name: Distribution if name == doctor.DISTRIBUTION else real(name),
    )
    outdated, missing, fine = list(doctor._packages())[2:]
    assert (outdated.status, outdated.fix) == ("broken", "pip install 'click>=999'")
    assert "needed is >=999" in outdated.detail
    assert (missing.status, missing.detail) == ("broken", "not installed")
    assert fine.status == "ok"

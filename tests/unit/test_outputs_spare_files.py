"""No command replaces a file or a folder of the user: refused before the work, and nothing has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofa_tk.app import run
from ofa_toolkit.core import resources

SUPERNET = "deps-compact-cifar10"
SEARCH = ["search", "--supernet", SUPERNET, "--macs", "10M"]
KIT = ["latency", "kit", "build", "--target", "tensorrt-8.2", "--space", "mobilenet-v3-compact"]
ENTRY = str(resources.data_path("zoo") / SUPERNET)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def contents(folder: Path) -> dict[str, str]:
    return {path.as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ([*SEARCH], "subnet.json"),
        ([*SEARCH, "--out", "mine.json"], "mine.json"),
        ([*SEARCH, "--pareto", "mine.csv"], "mine.csv"),
        (["export", "--onnx"], "subnet.onnx"),
        (["export", "--onnx", "mine"], "mine"),
        (["export", "--tensorrt", "mine.engine"], "mine.engine"),
        (["report", "--out", "mine.html"], "mine.html"),
        ([*KIT], "kit.zip"),
        (["latency", "calibrate", "--plan", "3", "--space", "mobilenet-v3-compact"], "probes.json"),
        (["zoo", "show", "flops-482M_top1-79.6_finetune-75", "--out", "mine.json"], "mine.json"),
        (["predictor", "build", "--supernet", SUPERNET, "--data", "fake", "--out", "mine"], "mine"),
        (["study", "curves", "--supernet", "runs/a"], "curves.csv"),
        (["study", "curves", "--supernet", "runs/a", "--out", "b.v2"], "b.v2.png"),
        (["pareto", "--supernet", "runs/a", "--data", "fake", "--out", "b"], "b.json"),
    ],
)
def test_a_file_that_is_there_needs_force(
    arguments: list[str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(file).write_text("mine")
    assert run(arguments) == 1
    error = capsys.readouterr().err
    assert f"'{file}'" in error
    assert "add --force" in error
    assert contents(Path()) == {file: "mine"}


@pytest.mark.parametrize(
    "arguments",
    [
        [*SEARCH, "--out", "mine/a/subnet.json"],
        ["extract", "--supernet", SUPERNET, "--out", "mine/a"],
        ["export", "--supernet", SUPERNET, "--bundle", "mine/a", "--force"],
        [*KIT, "--out", "mine/kit.zip", "--force"],
    ],
)
def test_a_place_below_a_file_is_refused_before_the_work(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine").write_text("mine")
    assert run(arguments) == 1
    assert "Error: 'mine' is no folder; 'mine/" in capsys.readouterr().err
    assert contents(Path()) == {"mine": "mine"}


def test_a_front_of_no_known_kind_is_refused_before_anything_is_searched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*SEARCH, "--pareto", "front.svg"]) == 1
    assert "a front is written as .csv, .json, .png, not '.svg'" in capsys.readouterr().err
    assert contents(Path()) == {}


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["extract"], "network"),
        (["extract", "--out", "."], "."),
        (["extract", "--out", "work"], "work"),
        (["export", "--bundle", "work"], "work"),
        (["export", "--bundle", "."], "."),
        (["export", "--tensorrt", "work.engine"], "work-kit"),
        (["quickstart", "--out", "work"], "work"),
        (["zoo", "package", ENTRY, "--name", "work", "--out", "work"], "work"),
        (["zoo", "package", ENTRY, "--name", "work", "--out", "work", "--data", "fake"], "work"),
    ],
)
def test_a_folder_without_our_manifest_is_refused(
    arguments: list[str], folder: str, force: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(folder) / "src").mkdir(parents=True)
    for name in ("src/model.py", "thesis.txt", "network.json", "config.json"):
        (Path(folder) / name).write_text("mine")
    before = contents(Path())
    assert run([*arguments, *force]) == 1
    error = capsys.readouterr().err
    assert f"'{folder}' holds files" in error
    assert "Name a new or an empty folder, such as" in error
    assert contents(Path()) == before

"""A whole study of seconds: two methods, two seeds, killed on the way, measured and reported."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_toolkit.pipelines.studies.definition import load_study, runs_of
from ofa_toolkit.pipelines.studies.folder import StudyFolder

RECIPE = """
[space]
name = "mobilenet-v3-compact"
resolutions = [8]
depths = [1, 2]
expand_ratios = [3.0, 6.0]

[data]
validation_size = 8

[algorithm]
name = "{name}"

[training]
epochs = 4
batch_size = 8
label_smoothing = 0.0

[schedule]
learning_rate = 0.05

[validation]
recalibration_images = 16
"""

STUDY = """
title = "Seconds"
data = "fake:classes=4,size=8,train=40,test=12"
seeds = [0, 1]
num_buckets = 2
candidates_per_bucket = 1

[[variants]]
label = "deps"
recipe = "deps.toml"
epochs = 2

[[variants]]
label = "bignas"
recipe = "bignas.toml"
epochs = 2
overrides = ["algorithm.num_networks=3"]
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    for name in ("deps", "bignas"):
        (tmp_path / f"{name}.toml").write_text(RECIPE.format(name=name))
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def start(study_file: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ofa_tk", "study", "run", str(study_file), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--jobs", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=out.parent
    )


def test_a_study_that_is_asked_to_stop_leaves_nothing_running(study_file: Path, tmp_path: Path) -> None:
    """`kill` asks the queue alone, other than Ctrl-C in a terminal."""
    out = tmp_path / "study"
    asked = start(study_file, out)
    assert asked.stderr is not None
    begun = [asked.stderr.readline() for _ in range(2)]
    asked.terminate()
    _, errors = asked.communicate(timeout=120)
    assert asked.returncode == 130
    assert [line.endswith(": training\n") for line in begun] == [True, True]
    assert errors.count(": stopped\n") == 2
    folder = StudyFolder(out)
    assert {folder.state(run) for run in runs_of(load_study(study_file))} <= {
        "waiting",
        "interrupted",
        "trained",
    }


def test_a_killed_study_goes_on_and_ends_with_a_report(study_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    killed = start(study_file, out)
    assert killed.stderr is not None
    for line in killed.stderr:
        if "measuring" in line:
            break
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    study, folder = load_study(study_file), StudyFolder(out)
    assert "measured" not in {folder.state(run) for run in runs_of(study)}

    again = start(study_file, out)
    _, errors = again.communicate()
    assert again.returncode == 0, errors
    assert {run.name: folder.state(run) for run in runs_of(study)} == {
        "deps-s0": "measured",
        "bignas-s0": "measured",
        "deps-s1": "measured",
        "bignas-s1": "measured",
    }
    before = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    third = start(study_file, out)
    _, errors = third.communicate()
    assert "training" not in errors, "finished runs are left alone"
    assert before == {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}

    report = [sys.executable, "-m", "ofa_tk", "study", "report", "--out", str(out), "--to"]
    done = subprocess.run([*report, str(tmp_path / "r")], capture_output=True, text=True, check=True)
    assert "mobilenet-v3-compact" in done.stdout
    with (tmp_path / "r" / "runs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["seed"]) for row in rows] == [
        ("bignas", "0"),
        ("bignas", "1"),
        ("deps", "0"),
        ("deps", "1"),
    ]
    assert all(0 <= float(row["mean Pareto top-1 (%)"]) <= 100 for row in rows)
    # Four updates of the largest alone, then four networks a step, against three networks all along.
    macs = {row["label"]: float(row["forward MACs (10^12)"]) for row in rows}
    assert 0 < macs["deps"] != macs["bignas"] > 0

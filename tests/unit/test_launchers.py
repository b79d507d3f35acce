"""Commands as jobs of Slurm: by submitit's local executor, and by stand-ins made from Slurm's manual."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ofa_toolkit.pipelines.launchers import LAUNCHERS, STOPPED

pytest.importorskip("submitit")

# sbatch(1): runs the script later, with its `--output`, and prints the job's number.
SBATCH = """#!/bin/sh
folder=$(dirname "$0")
number=$(($(ls "$folder" | grep -c '^job-') + 41))
cp "$1" "$folder/job-$number"
SLURM_JOB_ID=$number SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 \\
    setsid sh "$folder/job-$number" >"$folder/out" 2>&1 </dev/null &
echo $! >"$folder/session-$number"
echo "Submitted batch job $number"
"""
# srun(1): runs the command; `%j` in `--output` is the job's number, `%t` the task's.
SRUN = """#!/bin/sh
while :; do
    case $1 in
        --unbuffered) shift ;;
        --output | --error) shift 2 ;;
        *) break ;;
    esac
done
exec "$@"
"""
# scancel(1): SIGTERM to the processes of the job's steps, and SIGKILL later.
SCANCEL = """#!/bin/sh
kill -TERM "-$(cat "$(dirname "$0")/session-$1")"
"""
# sacct(1), with `-o JobID,State,NodeList --parsable2`.
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
echo "41|$(cat "$(dirname "$0")/state" 2>/dev/null || echo RUNNING)|here"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scancel": SCANCEL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("cluster", ["local", "slurm"])
def test_a_command_runs_as_a_job_and_gives_its_exit_code(tmp_path: Path, slurm: Path, cluster: str) -> None:
    settings = {"cluster": cluster, "folder": str(tmp_path / "jobs"), "slurm_partition": "spare"}
    launcher = LAUNCHERS["slurm"](settings)
    log = tmp_path / "logs" / "one.log"
    assert launcher.run([sys.executable, "-c", "print('done'); raise SystemExit(3)"], log) == 3
    assert log.read_text() == "done\n"
    if cluster == "slurm":
        script = (slurm / "job-41").read_text()
        assert "#SBATCH --partition=spare" in script
        assert "#SBATCH --time=1440" in script
        assert "#SBATCH --job-name=one" in script


SAVES_WHEN_ASKED = """
import signal, sys, time
def save(*_):
    print("saved")
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
print("begun")
time.sleep(60)
"""


def test_a_launcher_that_is_stopped_cancels_its_jobs_and_starts_no_more(tmp_path: Path, slurm: Path) -> None:
    launcher = LAUNCHERS["slurm"]({"folder": str(tmp_path / "jobs")})
    log = tmp_path / "one.log"
    with ThreadPoolExecutor() as pool:
        job = pool.submit(launcher.run, [sys.executable, "-c", SAVES_WHEN_ASKED], log)
        deadline = time.monotonic() + 60
        while not (log.is_file() and "begun" in log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        launcher.stop()
        assert job.result(timeout=60) == STOPPED
    assert log.read_text() == "begun\nsaved\n"
    assert launcher.run([sys.executable, "-c", "print('started')"], log) == STOPPED
    assert "started" not in log.read_text()
    assert not (slurm / "job-42").exists()


def test_a_job_that_slurm_ended_has_failed_and_says_so(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from submitit.core.core import Job

    monkeypatch.setattr(Job, "_results_timeout_s", 0)
    (slurm / "state").write_text("OUT_OF_MEMORY")
    launcher = LAUNCHERS["slurm"]({"folder": str(tmp_path / "jobs")})
    log = tmp_path / "one.log"
    kills_its_job = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    assert launcher.run([sys.executable, "-c", kills_its_job], log) == 1
    assert "OUT_OF_MEMORY" in log.read_text()

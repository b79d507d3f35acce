"""Commands as jobs of Slurm: by submitit's local executor, and by stand-ins made from Slurm's manual."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ofa_toolkit.pipelines.launchers import LAUNCHERS

pytest.importorskip("submitit")

# sbatch(1): runs the script later, with its `--output`, and prints the job's number.
SBATCH = """#!/bin/sh
folder=$(dirname "$0")
number=$(($(ls "$folder" | grep -c '^job-') + 41))
cp "$1" "$folder/job-$number"
SLURM_JOB_ID=$number SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 \\
    sh "$folder/job-$number" >"$folder/out" 2>&1 </dev/null &
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
# sacct(1), with `-o JobID,State,NodeList --parsable2`.
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
echo '41|RUNNING|here'
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
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

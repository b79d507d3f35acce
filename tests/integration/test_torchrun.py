"""Under torchrun, a run with a killed process goes on by itself to the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_toolkit.training.metrics import read_metrics
from tests.integration.small_runs import differing, weights

ROOT = Path(__file__).resolve().parents[2]


def torchrun(*words: object) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    worker = ["--max-restarts", "1", "-m", "tests.integration.torchrun_worker", *map(str, words)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    # Processes that are started again otherwise read the addresses of those before them.
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    command = [*launcher, *worker]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    torchrun(tmp_path / "whole")
    torchrun(tmp_path / "killed", 5)
    whole, killed = (weights(tmp_path / name / "supernet") for name in ("whole", "killed"))
    assert differing(whole, killed) == []
    kinds = [line["kind"] for line in read_metrics(tmp_path / "killed" / "metrics.jsonl")]
    assert kinds.count("step") == 8

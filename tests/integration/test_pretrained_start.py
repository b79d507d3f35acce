"""A run from pretrained weights on other classes: its start, frozen teacher after a kill, predictor."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofa_tk.app import run as command
from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.pipelines.training.run import train
from tests.integration.small_runs import Recorder, differing, run, small_config, weights

DEPS = {
    "name": "deps",
    "warmup_share": 0.0,
    "epsilon_ramp": "none",
    "teacher": "frozen",
    "features": 1.0,
    "sort_by": "activations",
}


class _KilledError(Exception):
    pass


class _Killer(Recorder):
    """Stops the run after an update."""

    def progress(self, progress: Progress) -> None:
        if progress.done == 6:
            raise _KilledError


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_weights_and_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = run(
        small_config({"name": "deps", "warmup_share": 1.0}, training={"epochs": 1}), tmp_path / "first"
    )
    config = small_config(
        DEPS,
        data={"source": "fake:classes=3,size=8,train=48,test=12"},
        start={"probe": True, "fit_batchnorm": True},
        finish={"predictor_subnets": 30},
        checkpoints={"every_steps": 1},
        init=str(first.folder),
    )
    whole, heard = run(config, tmp_path / "whole")
    told = "\n".join(heard.messages)
    assert "Classifier fitted to the features" in told
    assert "Batch norm fitted to 16 training images" in told
    assert "Accuracy predictor: " in told
    with pytest.raises(_KilledError):
        train(config, tmp_path / "killed", device="cpu", threads=1, reporter=_Killer())
    resumed, heard = run(config, tmp_path / "killed", resume=True)
    assert "Classifier fitted" not in "\n".join(heard.messages)
    assert differing(weights(whole), weights(resumed)) == []
    monkeypatch.chdir(tmp_path)
    assert command(["search", "--supernet", "killed", "--macs", "1M", "--json"]) == 0
    assert "top1_percent" in capsys.readouterr().out

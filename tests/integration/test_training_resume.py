"""What a run may go on from, what it says about it, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_tk import app
from ofa_toolkit.core.errors import (
    CheckpointError,
    ConfigError,
    MissingDependencyError,
    OutputError,
    TrainingError,
)
from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.pipelines.training.run import train
from ofa_toolkit.supernets import read_supernet, save_supernet
from ofa_toolkit.training import run_folder, run_lock
from ofa_toolkit.training.checkpoint import read_checkpoint
from ofa_toolkit.training.learner import Learner
from ofa_toolkit.training.metrics import read_metrics
from ofa_toolkit.training.step import StepResult
from ofa_toolkit.training.trainer import TrainingStoppedError
from tests.integration.small_runs import Recorder, differing, run, small_config, weights

TABLES: dict[str, dict[str, Any]] = {
    "space": {"depths": [1], "kernel_sizes": [3]},
    "training": {"batch_size": 16},
    "schedule": {"kind": "constant"},
}
BIGNAS = {"name": "bignas", "num_networks": 2}
CONFIG = small_config(BIGNAS, **TABLES)
NUM_UPDATES = 8


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run(CONFIG, folder := tmp_path_factory.mktemp("finished") / "run")
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The finished run, back at its last checkpoint but one."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    newest(folder).unlink()
    return folder


def newest(folder: Path) -> Path:
    return sorted((folder / "checkpoints").glob("step-*.pt"))[-1]


def rewrite(path: Path, change: Any) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def test_a_request_to_stop_writes_a_checkpoint(finished: Path, tmp_path: Path) -> None:
    class Stopping(Recorder):
        def progress(self, progress: Progress) -> None:
            super().progress(progress)
            if progress.done == 5:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStoppedError, match="Stopped after update 5") as caught:
        train(CONFIG, tmp_path / "run", device="cpu", threads=1, reporter=Stopping())
    assert caught.value.hint == f"Go on with it: ofa-tk train --resume --out {tmp_path / 'run'}"
    result, recorder = run(CONFIG, tmp_path / "run", resume=True)
    assert len(recorder.losses) == NUM_UPDATES - 5
    assert differing(weights(finished / "supernet"), weights(result)) == []


class TestWhatGoesOn:
    def test_a_started_run_is_not_overwritten(self, finished: Path) -> None:
        with pytest.raises(OutputError, match="holds a training run already"):
            run(CONFIG, finished)

    def test_neither_are_the_files_of_others(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").touch()
        for resume in (False, "auto"):
            with pytest.raises(OutputError, match="is not empty"):
                run(CONFIG, tmp_path, resume=resume)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_nothing_to_resume(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="no training run"):
            run(CONFIG, tmp_path / "new", resume=True)
        assert not (tmp_path / "new").exists()

    def test_before_the_first_checkpoint_every_line_starts(self, tmp_path: Path) -> None:
        run_folder.write_config(tmp_path, CONFIG)
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / ".step-000000000.12-0123abcd.tmp.pt").touch()
        assert [run_folder.goes_on(tmp_path, resume) for resume in (False, True, "auto")] == [False] * 3

    def test_other_settings_are_refused(self, finished: Path) -> None:
        other = small_config({**BIGNAS, "temperature": 2.0}, **TABLES)
        for resume in (True, "auto"):
            with pytest.raises(CheckpointError, match=r"with algorithm\.temperature = 1\.0, not"):
                run(other, finished, resume=resume)

    def test_a_finished_run_has_nothing_left(self, finished: Path) -> None:
        before = weights(finished / "supernet")
        result, recorder = run(CONFIG, finished, resume="auto")
        assert "nothing is left to train" in recorder.messages[-1]
        assert differing(before, weights(result)) == []


def hold(folder: str, connection: Any) -> None:
    with run_lock.held(Path(folder)):
        connection.send(os.getpid())
        connection.recv()


def test_one_process_a_run_folder(finished: Path, copy: Path) -> None:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=hold, args=(str(copy), theirs))
    child.start()
    pid = ours.recv()
    for resume in (True, "auto", False):
        with pytest.raises(TrainingError, match=f"being trained into by process {pid} on .* since 2"):
            run(CONFIG, copy, resume=resume)
    # However it ends, the folder is free.
    os.kill(pid, signal.SIGKILL)
    child.join()
    result, _ = run(CONFIG, copy, resume=True)
    assert differing(weights(finished / "supernet"), weights(result)) == []
    assert not (copy / run_lock.LOCK_FILE).exists()


class TestDamage:
    def test_the_checkpoint_before_is_taken(self, finished: Path, copy: Path) -> None:
        shutil.copy(newest(finished), copy / "checkpoints")
        (copy / "checkpoints" / "best.pt").write_bytes(b"")
        newest(copy).write_bytes(newest(copy).read_bytes()[:1000])
        name = newest(copy).name
        result, recorder = run(CONFIG, copy, resume=True)
        assert any(name in text and "Going back to" in text for text in recorder.messages)
        assert differing(weights(finished / "supernet"), weights(result)) == []

    def test_a_damaged_line_of_metrics(self, finished: Path, copy: Path) -> None:
        lines = (finished / "metrics.jsonl").read_text().splitlines()
        (copy / "metrics.jsonl").write_text("\n".join([*lines[:2], '{"kind": "ste', *lines[2:]]) + "\n")
        _, recorder = run(CONFIG, copy, resume=True)
        assert any("metrics.jsonl" in text and "line(s) 3" in text for text in recorder.messages)
        steps = [line["step"] for line in read_metrics(copy / "metrics.jsonl") if line["kind"] == "step"]
        assert steps == list(range(1, NUM_UPDATES + 1))

    def test_what_dead_processes_left_is_swept(self, copy: Path) -> None:
        for name in ("checkpoints/.step-000000008.1-00ff00ff.tmp.pt", "checkpoints/.best.7-00ff00ff.tmp.pt"):
            (copy / name).touch()
        (copy / ".run.1234-00ff00ff.tmp.toml").touch()
        (copy / ".mine").touch()
        run(CONFIG, copy, resume=True)
        assert [path.name for path in copy.rglob(".*")] == [".mine"]

    def test_the_release_before(self, finished: Path, copy: Path) -> None:
        def age(content: dict[str, Any]) -> None:
            content["version"] = 1
            del content["data"]
            part = content["state"].pop("parts")[0]
            content["state"] |= {"phase_steps": part["steps"], "phase_seconds": part["seconds"]}

        rewrite(newest(copy), age)
        rewrite(copy / "checkpoints" / "best.pt", age)
        result, recorder = run(CONFIG, copy, resume=True)
        assert any("earlier release and does not say on which images" in text for text in recorder.messages)
        assert any("the time so far is counted as on 1" in text for text in recorder.messages)
        assert differing(weights(finished / "supernet"), weights(result)) == []


class TestImages:
    @staticmethod
    def npz(path: Path, *, seed: int = 0, classes: tuple[str, ...] = ("a", "b")) -> str:
        random = np.random.default_rng(seed)
        arrays = {"class_names": np.array(classes)}
        for split, number in (("train", 24), ("test", 8)):
            arrays[f"{split}_images"] = random.integers(0, 256, (number, 8, 8, 3), dtype=np.uint8)
            arrays[f"{split}_labels"] = np.arange(number) % len(classes)
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return f"npz:{path}"

    def test_the_same_ones_elsewhere(self, tmp_path: Path) -> None:
        def config(source: str) -> Any:
            data = {"source": source, "validation_size": 8}
            return small_config(BIGNAS, **TABLES, data=data)  # type: ignore[arg-type]

        first, moved = self.npz(tmp_path / "a.npz"), self.npz(tmp_path / "b.npz")
        run(config(first), tmp_path / "run")
        newest(tmp_path / "run").unlink()
        run(config(moved), tmp_path / "run", resume=True)
        assert run_folder.read_config(tmp_path / "run").data.source == moved
        others = {
            self.npz(tmp_path / "c.npz", seed=1): "training images and held-out images differ",
            self.npz(tmp_path / "d.npz", classes=("a", "c")): "classes differ",
            self.npz(tmp_path / "e.npz", classes=("a", "b", "c")): "classes and training images and held-out",
        }
        for source, difference in others.items():
            with pytest.raises(CheckpointError, match=f"was trained on other images than .*{difference}"):
                run(config(source), tmp_path / "run", resume=True)

    def test_another_number_of_threads_is_said(self, copy: Path) -> None:
        try:
            recorder = Recorder()
            train(CONFIG, copy, resume=True, device="cpu", threads=2, reporter=recorder)
        finally:
            torch.set_num_threads(1)
        assert any("1 CPU thread(s) before, 2 now" in text for text in recorder.messages)
        parts = json.loads((copy / "summary.json").read_text())["parts"]
        assert [(part["updates"], part["threads"], part["num_devices"]) for part in parts] == [
            (6, 1, 1),
            (2, 2, 1),
        ]


class TestLength:
    def test_a_constant_rate_can_be_lengthened(self, finished: Path, tmp_path: Path) -> None:
        shutil.copytree(finished, tmp_path / "run")
        longer = small_config(BIGNAS, **{**TABLES, "training": {"batch_size": 16, "epochs": 5}})
        assert app.run(["train", "--resume", "--epochs", "5", "--out", str(tmp_path / "run")]) == 0
        assert run_folder.read_config(tmp_path / "run").training.epochs == 5
        run(longer, tmp_path / "at once")
        assert differing(weights(tmp_path / "run/supernet"), weights(tmp_path / "at once/supernet")) == []

    def test_a_run_cannot_be_cut_below_where_it_is(self, finished: Path) -> None:
        shorter = small_config(BIGNAS, **{**TABLES, "training": {"batch_size": 16, "epochs": 3}})
        with pytest.raises(ConfigError, match="has begun epoch 4 of 4 already"):
            run(shorter, finished, resume=True)

    def test_a_cosine_cannot_and_the_hint_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        table = {"batch_size": 32, "epochs": 2}
        run(small_config(BIGNAS, space=TABLES["space"], training=table), Path("a run"))
        assert app.run(["train", "--resume", "--epochs", "3", "--out", "a run"]) == 1
        error = capsys.readouterr().err
        assert "cannot go from 2 to 3 epochs" in error
        line = error.partition("ofa-tk ")[2].strip().replace("\n", " ")
        assert app.run(shlex.split(line)) == 0
        assert run_folder.read_config(Path("a run-3-epochs")).training.epochs == 3


class TestRuin:
    """Weights that are not finite are not kept, whatever the losses say."""

    def test_the_last_update(self, tmp_path: Path) -> None:
        config = small_config(
            BIGNAS,
            **{**TABLES, "training": {"batch_size": 32, "epochs": 1}, "schedule": {"learning_rate": 1e30}},
        )
        with pytest.raises(TrainingError, match=r"diverged at epoch 1/1, update 1: .*Rollbacks so far: 1"):
            run(config, tmp_path / "run")
        assert not (tmp_path / "run" / "supernet").exists()
        for path in (tmp_path / "run" / "checkpoints").iterdir():
            read_checkpoint(path)

    @pytest.mark.parametrize("what", ["weight", "statistics"])
    def test_an_update_on_the_way(self, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        update, done = Learner.update, []

        def ruining(self: Learner, *arguments: Any, **options: Any) -> StepResult:
            result = update(self, *arguments, **options)
            done.append(None)
            if len(done) == 5:
                norm = self.supernet.layer("stem.conv").bn
                assert norm is not None
                with torch.no_grad():
                    (norm.weight if what == "weight" else norm.running_var)[0] = float("inf")
            return result

        monkeypatch.setattr(Learner, "update", ruining)
        config = small_config(BIGNAS, **TABLES, checkpoints={"every_steps": 1})
        result, recorder = run(config, tmp_path / "run")
        assert any("Back to 'step-000000004.pt' with the rate" in text for text in recorder.messages)
        assert all(torch.isfinite(tensor).all() for tensor in weights(result).values())

    def test_a_ruined_supernet_is_neither_saved_nor_read(self, finished: Path, tmp_path: Path) -> None:
        supernet = read_supernet(finished / "supernet")
        shutil.copytree(finished / "supernet", tmp_path / "supernet")
        norm = supernet.layer("stem.conv").bn
        assert norm is not None
        norm.running_var[0] = float("nan")
        with pytest.raises(CheckpointError, match=r"was ruined in training: its 'stem.conv.bn.running_var'"):
            save_supernet(tmp_path / "new", supernet)
        assert not (tmp_path / "new").exists()
        norm.running_var[0] = 1e6
        with pytest.raises(CheckpointError, match="not finite as"):
            save_supernet(tmp_path / "new", supernet, dtype=torch.float16)
        path = tmp_path / "supernet" / "model.safetensors"
        import safetensors.torch

        tensors = safetensors.torch.load_file(path)
        tensors["stem.conv.conv.weight"][0] = float("nan")
        safetensors.torch.save_file(tensors, path)
        with pytest.raises(CheckpointError, match=r"its 'stem.conv.conv.weight' is not finite"):
            read_supernet(tmp_path / "supernet")


class TestLossesReadLater:
    """Several updates' losses read at once, as on a GPU."""

    AT_ONCE = small_config(BIGNAS, **{**TABLES, "training": {"batch_size": 4, "epochs": 1}})
    LATER = dataclasses.replace(AT_ONCE, training=dataclasses.replace(AT_ONCE.training, read_losses_every=3))

    def test_the_run_is_the_same_also_when_stopped(self, tmp_path: Path) -> None:
        wanted, _ = run(self.AT_ONCE, tmp_path / "at once")
        result, recorder = run(self.LATER, tmp_path / "later")
        assert len(recorder.losses) == 3, "after updates 3, 6 and 8, the end of the epoch"
        assert differing(weights(wanted), weights(result)) == []

        class Stopping(Recorder):
            def progress(self, progress: Progress) -> None:
                super().progress(progress)
                if progress.done == 6:
                    os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(TrainingStoppedError, match="Stopped after update 6"):
            train(self.LATER, tmp_path / "stopped", device="cpu", threads=1, reporter=Stopping())
        result, _ = run(self.LATER, tmp_path / "stopped", resume=True)
        assert differing(weights(wanted), weights(result)) == []
        first, *others = (
            [line for line in read_metrics(tmp_path / name / "metrics.jsonl") if line["kind"] == "step"]
            for name in ("at once", "later", "stopped")
        )
        assert [line["step"] for line in first] == [*range(1, NUM_UPDATES + 1)]
        assert others == [first, first]

    def test_divergence_is_told_by_its_update(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        update, done = Learner.update, []

        def ruining(self: Learner, *arguments: Any, **options: Any) -> StepResult:
            result = update(self, *arguments, **options)
            done.append(None)
            if len(done) == 4:
                with torch.no_grad():
                    next(iter(self.supernet.parameters()))[0] = float("nan")
            return result

        monkeypatch.setattr(Learner, "update", ruining)
        result, recorder = run(self.LATER, tmp_path / "run")
        (told,) = [text for text in recorder.messages if "diverged" in text]
        assert "epoch 1/1, update 5: the loss is nan" in told
        assert "Back to 'step-000000000.pt' with the rate times" in told
        assert all(torch.isfinite(tensor).all() for tensor in weights(result).values())


def test_a_missing_package_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("tensorboard", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    config = dataclasses.replace(CONFIG, tensorboard=True)
    with pytest.raises(MissingDependencyError, match="tensorboard") as caught:
        run(config, tmp_path / "new")
    assert str(caught.value.hint).startswith("pip install 'tensorboard")
    assert not (tmp_path / "new").exists()

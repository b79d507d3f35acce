"""Photos without labels: which are taken, how they join a step, and a run with them, killed and gone on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from ofa_toolkit.core.errors import CheckpointError, ConfigError, DataError
from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.datasets import open_dataset
from ofa_toolkit.datasets.dataset import ImageDataset
from ofa_toolkit.datasets.transforms import TransformConfig
from ofa_toolkit.datasets.unlabelled import HELD_OUT, add_unlabelled
from ofa_toolkit.pipelines.training.run import train
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.algorithm import Pass
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.learner import Learner
from ofa_toolkit.training.metrics import read_metrics
from tests.integration.small_runs import TINY_SPACE, Recorder, differing, run, small_config, weights


def _photos(folder: Path, count: int, seed: int) -> list[Path]:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    paths = [folder / f"{index}.png" for index in range(count)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _photos(tmp_path / "more" / "april", 5, seed=1)
    _photos(tmp_path / "more" / "may", 6, seed=2)
    (tmp_path / "more" / "notes.txt").write_text("x")
    return tmp_path / "more"


def _opened(source: str, folder: Path) -> ImageDataset:
    dataset = open_dataset(source, resolution=8)
    add_unlabelled(dataset, folder, transforms=TransformConfig())
    return dataset


def test_copies_of_what_is_judged_on_are_left_out(tmp_path: Path, folder: Path) -> None:
    for name, seed in (("a", 3), ("b", 4)):
        _photos(tmp_path / "set" / name, 10, seed)
    dataset = open_dataset(f"imagefolder:{tmp_path / 'set'}", resolution=8)
    judged = Path(dataset.picture_name("test", 0)), Path(dataset.picture_name("validation", 1))
    for number, path in enumerate(judged):
        shutil.copy(path, folder / f"copy {number}.png")
    shutil.copy(dataset.picture_name("train", 0), folder / "trained on.png")
    add_unlabelled(dataset, folder, transforms=TransformConfig())
    assert dataset.unlabelled is not None
    assert dataset.unlabelled.num_images == 12
    reasons = [item.reason for item in dataset.unlabelled.left_out]
    assert sorted(reasons) == [".txt", HELD_OUT, HELD_OUT]


def test_every_photo_comes_once_a_pass_and_follows_an_image(folder: Path) -> None:
    dataset = _opened("fake:classes=4,size=8,train=40,test=12", folder)
    others = dataset.unlabelled
    assert others is not None
    steps = dataset.steps_per_epoch(4)
    rows = np.concatenate(
        [
            others.rows_of_step(step, batch_size=4, steps_before=epoch * steps, seed=0)
            for epoch in range(3)
            for step in range(steps)
        ]
    )
    for start in range(0, len(rows) - 11, 11):
        assert sorted(rows[start : start + 11]) == list(range(11))
    alone = list(dataset.epoch(1, 4, seed=0))
    mixed = list(dataset.epoch(1, 4, seed=0, with_unlabelled=True))
    for (images, labels), (pairs, same) in zip(alone, mixed, strict=True):
        assert torch.equal(labels, same)
        assert torch.equal(images, pairs[::2])
        assert pairs.shape == (8, 3, 8, 8)
    halves = [list(dataset.epoch(1, 4, seed=0, with_unlabelled=True, rank=r, world_size=2)) for r in (0, 1)]
    for (whole, _), *parts in zip(mixed, *halves, strict=True):
        assert torch.equal(whole, torch.cat([images for images, _ in parts]))
    resumed = list(dataset.epoch(1, 4, seed=0, with_unlabelled=True, first_step=3))
    assert torch.equal(resumed[0][0], mixed[3][0])


def test_labels_count_for_the_labelled_and_imitation_for_all() -> None:
    config = small_config({"name": "bignas"}, space=TINY_SPACE, training={"dropout": 0.0})
    space = config.space.trained(4)
    torch.manual_seed(0)
    supernet = Supernet(space)
    learner = Learner(config, supernet, Process(), class_weights=torch.tensor([2.0, 1.0, 1.0, 1.0]))
    images, labels = torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 2])
    largest, smallest = space.largest(), space.smallest()
    passes = [
        Pass(role="largest", subnet=largest),
        Pass(role="smallest", subnet=smallest, hard_labels=0.0, soft_labels=1.0, source="first pass"),
    ]
    with torch.no_grad():
        first, second = (supernet.train()(images, subnet) for subnet in (largest, smallest))
    result = learner.update(passes, (images, labels), rate=0.0, seed=0)
    hard = functional.cross_entropy(first[::2], labels, reduction="none")
    soft = -(first.softmax(1) * second.log_softmax(1)).sum(1)
    weighted = (soft * torch.tensor([2.0, 1, 1, 1, 1, 1])).mean()
    expected = torch.stack([(hard * torch.tensor([2.0, 1, 1])).mean(), weighted])
    torch.testing.assert_close(result.losses, expected)
    assert int(result.num_correct) == int((first[::2].argmax(1) == labels).sum())


class _KilledError(Exception):
    pass


class _Killer(Recorder):
    def progress(self, progress: Progress) -> None:
        if progress.done == 5:
            raise _KilledError


def test_a_run_tells_them_and_goes_on_with_the_same_ones(tmp_path: Path, folder: Path) -> None:
    config = small_config(
        {"name": "deps", "ramp_share": 0.25, "warmup_share": 0.5},
        space=TINY_SPACE,
        training={"epochs": 2},
        data={"unlabelled": str(folder)},
        checkpoints={"every_steps": 1},
    )
    whole, heard = run(config, tmp_path / "whole")
    told = "\n".join(heard.messages)
    assert f"and 11 unlabelled photos in '{folder}'" in told
    assert f"Left out of '{folder}': 1 .txt." in told
    lines = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    assert all(0 <= line["train_accuracy"] <= 100 for line in lines if line["kind"] == "step")
    with pytest.raises(_KilledError):
        train(config, tmp_path / "killed", device="cpu", threads=1, reporter=_Killer())
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    config = small_config(
        {"name": "deps", "ramp_share": 0.25, "warmup_share": 0.5},
        space=TINY_SPACE,
        training={"epochs": 2},
        data={"unlabelled": str(moved)},
        checkpoints={"every_steps": 1},
    )
    resumed, _ = run(config, tmp_path / "killed", resume=True)
    assert differing(weights(whole), weights(resumed)) == []
    (moved / "may" / "0.png").unlink()
    with pytest.raises(CheckpointError, match="unlabelled photos differ"):
        run(config, tmp_path / "killed", resume=True)


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    for algorithm in (
        {"name": "single"},
        {"name": "deps", "soft_labels": 0, "hard_labels": 1},
        {"name": "ofa", "distillation": 0},
    ):
        with pytest.raises(ConfigError, match=r"data.unlabelled: .* learns from labels alone"):
            small_config(algorithm, data={"unlabelled": str(tmp_path)})
    with pytest.raises(DataError, match=r"data.unlabelled: '.*' is no folder with photos"):
        _opened("fake", tmp_path / "none")

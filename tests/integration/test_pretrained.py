"""Training that starts from weights of others, and learns from a network in place of labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from ofa_toolkit.core.errors import CheckpointError, ConfigError, MismatchError, UnknownNameError
from ofa_toolkit.datasets import open_dataset
from ofa_toolkit.evaluation.accuracy import evaluate
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.pipelines.training.initial import open_initial
from ofa_toolkit.pipelines.training.run import prepare
from ofa_toolkit.pipelines.zoo.importing import import_supernet
from ofa_toolkit.pipelines.zoo.request import ImportRequest
from ofa_toolkit.spaces import SearchSpace, get_space
from ofa_toolkit.supernets import Supernet, save_supernet
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.zoo.supernet import load_supernet
from tests.integration.small_runs import IMAGES, run, small_config, weights

WAVES = ("other", "wave 3", "wave 2", "wave 1", "wave 0", "another")


def one_network(space: SearchSpace) -> SearchSpace:
    stages = (
        dataclasses.replace(
            stage,
            depths=stage.depths[-1:],
            kernel_sizes=stage.kernel_sizes[-1:],
            expand_ratios=stage.expand_ratios[-1:],
        )
        for stage in space.stages
    )
    return dataclasses.replace(space, stages=tuple(stages))


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A network with six classes, four of which the images have, in another order."""
    torch.manual_seed(0)
    space = get_space("mobilenet-v3-compact").with_num_classes(len(WAVES)).with_resolutions((8, 16))
    supernet = Supernet(space)
    save_supernet(tmp_path / "teacher", supernet, trained_space=one_network(space), class_names=WAVES)
    return tmp_path / "teacher"


def teacher_config(teacher: Path, **tables: Any) -> Any:
    return small_config(
        {"name": "deps", "warmup_share": 0.0, "ramp_share": 0.1},
        **{"teacher": str(teacher), "init": str(teacher), "teacher_resolution": 16, **tables},
    )


def test_a_teacher_takes_the_place_of_labels(teacher: Path, tmp_path: Path) -> None:
    result, recorder = run(teacher_config(teacher), tmp_path / "run")
    assert any("nothing is fresh" in message for message in recorder.messages)
    trained = load_supernet(tmp_path / "run")
    assert trained.class_names == WAVES
    assert trained.space.num_classes == len(WAVES)
    again, _ = run(
        teacher_config(teacher, data={"source": IMAGES, "class_weights": "none"}), tmp_path / "again"
    )
    assert weights(again)["classifier.linear.weight"].equal(weights(result)["classifier.linear.weight"])
    evaluator = open_evaluator(str(tmp_path / "run"), EvaluationRequest(data=IMAGES))
    accuracy = evaluator.accuracy(trained.space.smallest())
    assert accuracy.top1_among_percent is not None
    assert accuracy.top1_among_percent >= accuracy.top1_percent


def test_a_teacher_of_another_normalisation_sees_the_same_pixels(teacher: Path, tmp_path: Path) -> None:
    loaded = load_supernet(teacher)
    own = {
        "size": 16,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.5, 0.25, 2.0],
        "interpolation": "bicubic",
        "crop": 1.0,
    }
    space, network = loaded.trained_space, loaded.network
    save_supernet(tmp_path / "own", network, trained_space=space, class_names=WAVES, preprocessing=own)
    config = small_config({"name": "deps"}, teacher=str(tmp_path / "own"))
    trainer = prepare(config, tmp_path / "run", process=Process())
    asked = trainer.learner.updater.label_teacher
    assert asked is not None
    images, _ = next(iter(trainer.dataset.epoch(0, 8, seed=0)))
    given = trainer.dataset.preprocessing
    assert given["mean"] != own["mean"]

    def channels(name: str, facts: Mapping[str, Any]) -> torch.Tensor:
        return torch.tensor(facts[name]).view(3, 1, 1)

    pixels = images * channels("std", given) + channels("mean", given)
    expected = load_supernet(tmp_path / "own").extract(space.largest())(
        (pixels - channels("mean", own)) / channels("std", own)
    )
    torch.testing.assert_close(asked(images), expected, rtol=1e-4, atol=1e-5)


def test_a_run_teaches_with_the_batch_norm_that_it_stored_of_its_largest_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    supernet = Supernet(get_space("mobilenet-v3-compact").with_num_classes(len(WAVES)).with_resolutions((8,)))
    stored = {"batchnorm_statistics": "the largest subnet's"}
    save_supernet(tmp_path / "run", supernet, class_names=WAVES, further=stored)
    config = small_config({"name": "deps"}, teacher=str(tmp_path / "run"))
    trainer = prepare(config, tmp_path / "taught", process=Process())
    asked = trainer.learner.updater.label_teacher
    assert asked is not None
    images, _ = next(iter(trainer.dataset.epoch(0, 8, seed=0)))
    loaded = load_supernet(tmp_path / "run")
    expected = loaded.extract(loaded.trained_space.largest(), keep_batchnorm=True)(images)
    torch.testing.assert_close(asked(images), expected, rtol=1e-4, atol=1e-5)


def test_settings_that_only_labels_have_are_refused(teacher: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.label_smoothing: '0\.1' is for labels"):
        teacher_config(teacher, training={"label_smoothing": 0.1})
    with pytest.raises(ConfigError, match="there is no teacher"):
        small_config({"name": "deps"}, teacher_resolution=16)


def test_pictures_of_other_classes_are_judged_by_agreement(teacher: Path, tmp_path: Path) -> None:
    images = IMAGES.replace("classes=4", "classes=5")
    untouched = {"schedule": {"learning_rate": 1e-9}, "training": {"epochs": 1, "dropout": 0.0}}
    result, recorder = run(
        teacher_config(teacher, data={"source": images}, teacher_resolution=8, **untouched),
        tmp_path / "run",
    )
    assert any("agreement with what it names" in message for message in recorder.messages)
    assert load_supernet(result.folder).class_names == WAVES
    dataset = open_dataset(images, validation_size=8)
    dataset.label_by(WAVES, lambda shown: shown.flatten(1).argmax(1) % 6)
    for shown, labels in dataset.batches("test", 5):
        assert labels.equal(shown.flatten(1).argmax(1) % 6)
    with pytest.raises(MismatchError):
        open_evaluator(str(result.folder), EvaluationRequest(data=images))


def test_labels_count_the_outputs_of_a_network_with_more_classes(teacher: Path) -> None:
    dataset = open_dataset(IMAGES, validation_size=8)
    plain = np.concatenate([labels.numpy() for _, labels in dataset.batches("test", 5)])
    assert dataset.name_outputs(WAVES)
    numbered = np.concatenate([labels.numpy() for _, labels in dataset.batches("test", 5)])
    assert [WAVES[label] for label in numbered] == [f"wave {label}" for label in plain]
    logits = torch.zeros(12, len(WAVES))
    logits[:, 0] = 2.0  # never among the data set's own
    logits[:, WAVES.index("wave 1")] = 1.0
    accuracy = evaluate(lambda images: logits[: len(images)], dataset.batches("test", 5), dataset.own_outputs)
    assert accuracy.top1_percent == 0
    assert accuracy.top1_among_percent == pytest.approx(100 * (plain == 1).mean())
    assert not open_dataset(IMAGES, validation_size=8).name_outputs(WAVES[:3])


def test_folders_of_imagenet_are_known_by_their_titles() -> None:
    dataset = open_dataset(IMAGES, validation_size=8)
    dataset.class_names = ("n01440764", "n03417042", "golf ball", "church")
    assert dataset.name_outputs(("church", "garbage truck", "golf ball", "tench"))
    assert dataset.own_outputs == (3, 1, 2, 0)


def test_the_statistics_of_a_single_trained_network_are_its_own(teacher: Path) -> None:
    loaded = load_supernet(teacher)
    assert loaded.has_statistics_of(loaded.space.largest(8))
    assert not loaded.has_statistics_of(loaded.space.smallest())
    evaluator = open_evaluator(teacher, EvaluationRequest(data=IMAGES))
    assert evaluator.accuracy(loaded.space.largest(8)).num_recalibration_images == 0
    assert evaluator.accuracy(loaded.space.smallest()).num_recalibration_images > 0


def test_a_state_dictionary_is_a_start_and_an_import(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v3_small(weights=None)
    path = tmp_path / "weights.pth"
    torch.save({"model": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    space = get_space("mobilenet-v3-small")
    initial = open_initial(str(path), space)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network.eval()(images)
        found = initial.network(images, space.largest(64))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    made = import_supernet(ImportRequest(source=path, out=tmp_path / "out", space="mobilenet-v3-small"))
    assert made.space.identity == space.identity
    with pytest.raises(MismatchError, match="'mobilenet-v2' has 53"):
        open_initial(str(path), get_space("mobilenet-v2"))


def test_weights_of_torchvision_that_are_not_here_say_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda *_, **__: (_ for _ in ()).throw(OSError("no route to host"))
    )
    space = get_space("mobilenet-v3-small")
    with pytest.raises(CheckpointError, match="cannot be fetched: no route to host") as caught:
        open_initial("torchvision:mobilenet_v3_small", space)
    assert caught.value.hint is not None
    assert "--space mobilenet-v3-small" in caught.value.hint
    with pytest.raises(UnknownNameError, match="mobilenet_v3_small"):
        open_initial("torchvision:mobilenet_v3_smal", space)
    with pytest.raises(ConfigError, match="'tf:x' names no weights"):
        open_initial("tf:x", space)


def test_weights_of_torchvision_come_from_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v3_small(weights=None)
    chosen = torchvision.models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / chosen.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    initial = open_initial("torchvision:mobilenet_v3_small", get_space("mobilenet-v3-small"))
    assert initial.class_names[0] == "tench"
    assert initial.preprocessing is not None
    assert initial.preprocessing["crop"] == 0.875
    stem = network.state_dict()["features.0.0.weight"]
    assert initial.network.state_dict()["stem.conv.conv.weight"].equal(stem)

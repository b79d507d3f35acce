"""`ofa-tk train`, `evaluate` and `finetune` as a user types them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_tk.app import run as ofa_tk
from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.metadata import read_metadata
from ofa_toolkit.export.model_file import load_model
from ofa_toolkit.spaces import get_space, sample_subnets
from ofa_toolkit.spaces.subnet_file import SubnetFile, read_subnet, subnet_from_document, write_subnet
from ofa_toolkit.zoo.card import read_card
from ofa_toolkit.zoo.supernet import load_supernet
from tests.integration.small_runs import differing, run, small_config, weights

IMAGES = "fake:classes=4,size=8,train=40,test=12"
CHEAP = ["--threads", "1", "--recalibration-images", "16"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    config = small_config(
        {"name": "deps", "warmup_share": 0.5},
        training={"epochs": 2, "record_gradients_every": 1},
        checkpoints={"snapshots": [0.5, 1.0]},
        validation={"every_epochs": 1},
    )
    run(config, folder)
    return folder


def test_bare_train_lists_recipes_and_a_line_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert ofa_tk(["train"]) == 0
    shown = capsys.readouterr()
    assert "deps-compact-cifar10" in shown.out
    assert "--data fake" in shown.err


def test_splits_and_weights_of_few_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The test images of a run are those that `evaluate` takes afterwards, whatever their number."""
    stream = np.random.default_rng(0)
    for label, count in (("ok", 30), ("rare", 3)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(count):
            pixels = stream.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    source = f"imagefolder:{tmp_path / 'photos'}"
    data = {"source": source, "test_size": 9, "validation_size": 4}
    algorithm, training = {"name": "deps", "warmup_share": 0.5}, {"epochs": 2, "batch_size": 4}
    result, heard = run(small_config(algorithm, training=training, data=data), tmp_path / "run")
    assert heard.messages[0].endswith(
        "2 classes, 33 images (20 train, 4 validation, 9 test), 3 to 30 a class"
    )
    assert "times the training images of 'rare'" in heard.messages[1]
    assert (
        ofa_tk(["evaluate", "--supernet", str(result.folder), "--data", source, "--random", "0", *CHEAP]) == 0
    )
    assert re.search(r"largest .* \(95 % interval \d+ to \d+\) +[\d.]+ +9\n", capsys.readouterr().out)
    weighted = small_config(algorithm, training=training, data={**data, "class_weights": "balanced"})
    other, heard = run(weighted, tmp_path / "weighted")
    assert "times the training images" not in heard.messages[1]
    assert differing(weights(result), weights(other))


def test_the_line_of_bare_train_passes_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "--recipe", "deps-compact-cifar10", "--data", "fake", "--dry-run", "--json"]
    small = ["--set", "training.batch_size=4", "--set", "space.resolutions=[8]", "--threads", "1"]
    assert ofa_tk([*arguments, *small]) == 0
    prediction = json.loads(capsys.readouterr().out)
    assert [cost["name"] for cost in prediction["costs"]] == ["warm-up", "shrinking"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--recipe", "deps-compact-cifar1", "--out", "x"], 1, "Did you mean 'deps-compact-cifar10'?"),
        (["--recipe", "deps-compact-cifar10", "--out", "x"], 1, "--data fake"),
        (["--recipe", "deps-compact-cifar10", "--data", "fake"], 2, "--out runs/NAME"),
        (
            ["--recipe", "deps-compact-cifar10", "--data", "fake", "--out", "x", "--set", "training.epoch=3"],
            1,
            "Did you mean 'training.epochs'?",
        ),
        (["--resume", "--out", "nowhere"], 1, "no training run to resume"),
        (
            ["--recipe", "deps-compact-cifar10", "--data", "fake", "--out", "x", "--device", "tpu"],
            1,
            "ofa-tk doctor",
        ),
    ],
)
def test_errors_say_what_to_do(
    arguments: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ofa_tk(["train", *arguments]) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "something was written"


def test_evaluate(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ofa_tk(["evaluate", "--supernet", str(trained), "--data", IMAGES, *CHEAP, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [r["name"] for r in results] == ["largest", "smallest", "random 1", "random 2", "random 3"]


def test_pareto_of_two_runs(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    supernets = ["--supernet", str(trained), "--supernet", str(trained / "snapshots" / "050")]
    arguments = ["--data", IMAGES, *CHEAP, "--buckets", "2", "--per-bucket", "1", "--json"]
    assert ofa_tk(["pareto", *supernets, *arguments]) == 0
    study = json.loads(capsys.readouterr().out)
    assert study == json.loads((tmp_path / "pareto.json").read_text())
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert len(study["curves"]) == 2
    for curve in study["curves"]:
        accuracies = [point["test_top1_percent"] for point in curve["points"]]
        assert min(accuracies) <= curve["mean_pareto_accuracy_percent"] <= max(accuracies)


@pytest.mark.parametrize("study", ["init-study", "gradients", "curves", "gradient-curves"])
def test_studies_write_csv_and_png_and_their_former_spelling_names_todays(
    study: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stem = tmp_path / "figure"
    arguments = ["--supernet", str(trained), "--data", IMAGES, *CHEAP, "--out", str(stem), "--json"]
    assert ofa_tk(["evaluate", f"--{study}", *arguments]) == 2
    answer = capsys.readouterr().err
    assert f"--{study} is a command of its own now: ofa-tk study " in answer
    assert ofa_tk(shlex.split(answer.partition("now: ofa-tk ")[2].splitlines()[0])) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    assert len(stem.with_suffix(".csv").read_text().splitlines()) > 1
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    if study == "gradients":
        # At epsilon 0.001 the direction is the full network's (Figure 3b).
        assert all(row["cosine_epsilon_shrinking"] > 0.99 for row in rows if row["norm_full"] > 1e-6)
        assert any(row["cosine_shrinking"] < 0.9 for row in rows)


def test_a_fine_tuned_run_is_its_one_subnet(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever command meets it, none takes a subnet that fine-tuning has left behind."""
    monkeypatch.chdir(tmp_path)
    space = get_space("mobilenet-v3-compact").with_resolutions((8,))
    [subnet] = sample_subnets(space, 1, generator(0, "test"))
    assert any(len(set(stage.kernel_sizes)) > 1 for stage in subnet.stages)  # no part of the space is it
    write_subnet("subnet.json", SubnetFile(space=space, supernet=str(trained), subnet=subnet))
    small = ["--epochs", "1", "--threads", "1", "--set", "training.batch_size=8"]
    assert ofa_tk(["finetune", "--data", IMAGES, "--out", "tuned", *small]) == 0
    shutil.copytree("tuned/supernet", "passed-on")
    for name in ("tuned", "./passed-on"):
        assert load_supernet(name).only_subnet == subnet
        capsys.readouterr()
        assert ofa_tk(["evaluate", "--supernet", name, "--data", IMAGES, "--json"]) == 0
        [result] = json.loads(capsys.readouterr().out)["results"]
        assert subnet_from_document(result["architecture"]) == subnet
        assert ofa_tk(["search", "--supernet", name, "--maximize", "macs", "--macs", "1G"]) == 1
        shown = capsys.readouterr().err
        assert "was fine-tuned for one subnet; its others are of no use" in shown
        assert ofa_tk(shlex.split(shown.split("ofa-tk ")[-1])) == 0
        assert read_metadata(load_model("subnet.onnx")).subnet == subnet
    assert ofa_tk(["zoo", "package", "tuned", "--name", "one", "--data", IMAGES, "--out", "one"]) == 0
    [fact] = read_card(Path("one")).accuracy
    assert read_subnet(Path("one", fact.subnet), space.with_num_classes(4)).subnet == subnet
    assert load_supernet("./one").only_subnet == subnet


def test_finetune_then_evaluate(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = get_space("mobilenet-v3-compact").with_resolutions((8,))
    subnet = tmp_path / "subnet.json"
    write_subnet(subnet, SubnetFile(space=space, supernet=str(trained), subnet=space.smallest()))
    images = IMAGES.replace("classes=4", "classes=3")
    out = tmp_path / "tuned"
    small = ["--epochs", "1", "--threads", "1", "--set", "training.batch_size=8"]
    line = ["finetune", "--subnet", str(subnet), "--data", images, "--out", str(out), *small]
    assert ofa_tk(line) == 0
    assert "fresh: classifier for 3 classes" in capsys.readouterr().err
    tuned = out / "subnet.json"
    assert read_subnet(tuned, space).supernet == str(out)
    write_subnet(subnet, SubnetFile(space=space, supernet=str(trained), subnet=space.largest()))
    assert ofa_tk([*line, "--resume"]) == 1  # a search has written its file anew
    assert "was started with another algorithm.architecture.stages" in capsys.readouterr().err
    arguments = ["--supernet", str(out), "--subnet", str(tuned), "--data", images, *CHEAP]
    assert ofa_tk(["evaluate", *arguments]) == 0

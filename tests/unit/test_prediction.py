"""`ofa-tk predict`: which pictures, how many classes, and what is told of pictures that cannot be read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_tk.app import run
from ofa_toolkit.core.errors import ConfigError, DataError, ExportError
from ofa_toolkit.pipelines.prediction import classifier as opening
from ofa_toolkit.pipelines.prediction.classifier import Classifier, Floats
from ofa_toolkit.pipelines.prediction.pictures import find_pictures
from ofa_toolkit.pipelines.prediction.predict import csv_text, predict

SETTINGS = {"size": 2, "crop": 1.0, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.25] * 3}


def brightness(images: Floats) -> Floats:
    """Logits of `dark`, `bright`, and `black, white`, a name with a comma."""
    level = images.mean((1, 2, 3))
    return np.stack([-level, level, np.zeros_like(level)], axis=1)


LIGHT = Classifier(
    name="light", class_names=("dark", "bright", "black, white"), preprocessing=SETTINGS, logits=brightness
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, grey in {"a/1.png": 255, "a/b/2.PNG": 0, "[x]/3.png": 204}.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), grey).save(name)
    Path("a/._1.png").write_bytes(b"resource fork")
    Path("a/notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (["a"], ["a/1.png", "a/b/2.PNG"]),
        (["a/b/2.PNG", "a"], ["a/b/2.PNG", "a/1.png"]),
        (["a/*.png"], ["a/1.png"]),
        (["**/*.png"], ["[x]/3.png", "a/1.png"]),
        (["[x]/3.png"], ["[x]/3.png"]),
        (["a/b*"], ["a/b/2.PNG"]),
    ],
)
def test_files_folders_and_patterns(named: list[str], found: list[str]) -> None:
    paths, _ = find_pictures(named)
    assert [path.as_posix() for path in paths] == found


def test_what_is_left_out_is_told() -> None:
    _, left_out = find_pictures(["a"])
    assert {item.path.name: item.reason for item in left_out} == {"._1.png": "hidden", "notes.txt": ".txt"}


@pytest.mark.parametrize(
    ("named", "message", "hint"),
    [
        ([], "No pictures are named", "'photos/*.jpg'"),
        (["a/2.png"], "No such picture: 'a/2.png'", "'a/1.png'"),
        (["c/*.jpg"], "No picture matches 'c/*.jpg'", None),
        (["empty"], "The folder 'empty' holds no pictures", None),
    ],
)
def test_pictures_that_are_not_there(named: list[str], message: str, hint: str | None) -> None:
    Path("empty").mkdir()
    with pytest.raises(DataError) as caught:
        find_pictures(named)
    assert message in caught.value.message
    assert hint is None or hint in str(caught.value.hint)


def test_probabilities_are_those_of_the_logits_for_any_batch() -> None:
    paths = ["a/1.png", "a/b/2.PNG", "[x]/3.png"]
    for batch_size in (1, 2, 32):
        white, black, light = predict(LIGHT, paths, batch_size=batch_size)
        expected = np.exp([2.0, 0.0, -2.0]) / np.exp([2.0, 0.0, -2.0]).sum()
        assert [guess.class_name for guess in white.guesses] == ["bright", "black, white", "dark"]
        assert [guess.class_name for guess in black.guesses] == ["dark", "black, white", "bright"]
        for item in (white, black):
            np.testing.assert_allclose([guess.probability for guess in item.guesses], expected, rtol=1e-6)
        assert light.guesses[0].probability < white.guesses[0].probability
    with pytest.raises(ConfigError, match="'light' has 3 classes"):
        predict(LIGHT, paths, top=4)


def test_numbers_that_are_not_finite_are_no_answer() -> None:
    ruined = dataclasses.replace(LIGHT, logits=lambda images: LIGHT.logits(images) * np.float32("nan"))
    with pytest.raises(ExportError, match=r"'light' gives numbers that are not finite for 'a/1\.png'"):
        predict(ruined, [Path("a/1.png")])


def test_one_damaged_picture_does_not_lose_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opening, "open_classifier", lambda *_args, **_options: LIGHT)
    Path("a/0.png").write_bytes(b"\x89PNG")
    arguments = ["predict", "light.onnx", "a", "--top", "1"]
    assert run([*arguments, "--csv", "table.csv"]) == 1
    captured = capsys.readouterr()
    assert [line.split() for line in captured.out.splitlines()] == [
        ["picture", "class", "%"],
        ["a/1.png", "bright", "86.7"],
        ["a/b/2.PNG", "dark", "86.7"],
    ]
    assert "1 of 3 pictures cannot be read" in captured.err
    table = Path("table.csv").read_text().splitlines()
    assert table[0] == "picture,rank,class,probability,problem"
    assert table[1].startswith("a/0.png,,,,it is empty, damaged") or table[1].startswith('a/0.png,,,,"')
    assert table[2] == "a/1.png,1,bright,0.866813,"
    assert run([*arguments, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["pictures"]
    assert found[1] == {
        "picture": "a/1.png",
        "guesses": [{"class_name": "bright", "probability": pytest.approx(0.866813, abs=1e-6)}],
        "problem": None,
    }
    assert found[0]["problem"]


def test_names_with_commas_stay_one_cell() -> None:
    assert ',2,"black, white",' in csv_text(predict(LIGHT, "a/1.png"))


def test_a_model_that_is_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    Path("page.onnx").write_text("<html>")
    for model, message in {"page.onnx": "HTML page", "absent.onnx": "Cannot read 'absent.onnx'"}.items():
        assert run(["predict", model, "a"]) == 1
        assert message in capsys.readouterr().err

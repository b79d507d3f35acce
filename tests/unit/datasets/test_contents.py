"""`ofa-tk data show`: what a data set holds, before anything is trained on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_tk.app import run
from ofa_toolkit.datasets import contents, open_dataset
from ofa_toolkit.datasets.contents import read_contents


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes; of each split folder: grey ones, a turned one, a damaged one, copies, and other files."""
    stream = np.random.default_rng(0)
    for split, count in (("Train", 12), ("Test", 4)):
        for label in ("ripe", "unripe"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = stream.integers(0, 256, (6, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    train, test = tmp_path / "Train", tmp_path / "Test"
    Image.fromarray(stream.integers(0, 2**16, (6, 8), dtype=np.uint16)).save(train / "ripe" / "0.png")
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(train / "ripe" / "1.png", exif=exif)
    shutil.copy(train / "ripe" / "2.png", test / "ripe" / "copy.png")
    shutil.copy(train / "ripe" / "3.png", train / "unripe" / "3.png")
    (train / "unripe" / "5.png").write_bytes(b"no picture")
    (train / "unripe" / "notes.txt").write_text("")
    (train / "unripe" / ".notes.txt").write_text("")
    return tmp_path


def test_show_as_json(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "show", f"imagefolder:{photos}", "--set", "data.validation_size=4", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["splits"] == {"train": 20, "validation": 4, "test": 9}
    assert [count["name"] for count in shown["classes"]] == ["ripe", "unripe"]
    assert shown["classes"][0]["test"] == 5
    assert shown["sizes"] == {"8 x 6": 31, "6 x 8": 1}
    assert shown["modes"] == {"RGB": 31, "I;16": 1}
    unripe = photos / "Train" / "unripe"
    assert {(item["file"], item["reason"]) for item in shown["left_out"]} == {
        (str(unripe / ".notes.txt"), "hidden"),
        (str(unripe / "notes.txt"), ".txt"),
    }
    assert [item["file"] for item in shown["unreadable"]] == [str(unripe / "5.png")]
    groups = [{Path(place["picture"]).name for place in group} for group in shown["repeated"]]
    assert sorted(map(sorted, groups)) == [["2.png", "copy.png"], ["3.png"]]
    assert any("In two splits: 1 picture." in text for text in shown["warnings"])
    assert any("Under two classes: 1 picture." in text for text in shown["warnings"])


def test_show_as_text(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "show", f"imagefolder:{photos}"]) == 0
    shown = capsys.readouterr()
    assert (
        f"imagefolder:{photos}: 2 classes, 33 images (22 train, 2 validation, 9 test), 16 to 17" in shown.out
    )
    for text in ("8 x 6 (31), 6 x 8 (1)", "RGB (31), I;16 (1)", "no picture", "notes.txt", "copy.png"):
        assert text in shown.out
    assert "Cannot be read: 1 picture." in shown.err


def test_a_large_set_is_decoded_in_part(photos: Path) -> None:
    dataset = open_dataset(f"imagefolder:{photos}", resolution=72)
    whole, part, headers = (read_contents(dataset, most_decoded=most) for most in (None, 7, 0))
    assert (whole.num_decoded, part.num_decoded, headers.num_decoded) == (33, 7, 0)
    assert whole.sizes == part.sizes == headers.sizes == {"8 x 6": 31, "6 x 8": 1}
    assert whole.modes == part.modes == headers.modes
    assert len(whole.repeated) == 2
    assert headers.repeated == ()
    assert [Path(item.file).name for item in headers.unreadable] == ["5.png"]  # not even a header


def test_show_says_what_was_decoded(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contents, "SAMPLE", 7)
    assert run(["data", "show", f"imagefolder:{photos}"]) == 0
    assert "Decoded 7 pictures drawn at random" in capsys.readouterr().err
    assert run(["data", "show", f"imagefolder:{photos}", "--all"]) == 0
    assert "drawn at random" not in capsys.readouterr().err


def test_show_of_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "show", "fake:classes=3,size=8,train=30,test=6", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["sizes"] == {"8 x 8": 36}
    assert shown["repeated"] == shown["unreadable"] == shown["left_out"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "Unknown data set 'nowhere'"),
        (["photos"], "Write it as imagefolder:photos"),
        (["arrays.npz"], "Write it as npz:arrays.npz"),
        (["fake", "--set", "data.test_size=4"], "test_size '4' has no use"),
        (["fake", "--set", "data.tests=4"], "data.test"),
    ],
)
def test_what_cannot_be_shown_is_said(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("arrays.npz").write_bytes(b"")
    assert run(["data", "show", *arguments]) == 1
    assert message in capsys.readouterr().err

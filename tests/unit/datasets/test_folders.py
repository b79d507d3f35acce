"""Folders of photos as users have them: split folders, hidden files, few photos, unusual names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.output_folder import MANIFEST, MARKS
from ofa_toolkit.datasets import ImageDataset, open_dataset
from ofa_toolkit.datasets import folders as module
from ofa_toolkit.pipelines.studies.folder import STUDY_FILE
from ofa_toolkit.training import run_folder

SPLITS = ("train", "validation", "test")


def write(folder: Path, count: int, ending: str = "png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:03d}.{ending}"
        Image.new("RGB", (5, 4), (number, len(folder.name), 9)).save(path, {"jfif": "jpeg"}.get(ending))


def opened(folder: Path, **options: Any) -> ImageDataset:
    return open_dataset(f"imagefolder:{folder}", resolution=72, **options)


def sizes(dataset: ImageDataset) -> list[int]:
    return [dataset.num_images(split) for split in SPLITS]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Validation", "Test"),
        ("TRAIN", "VALID", "TEST"),
        ("training", "validation", "testing"),
        ("Training", None, "Testing"),
        ("train", "Valid", None),
        ("train", "dev", "eval"),
        ("training_set", None, "test_set"),
        ("Training Data", "Validation Data", None),
        ("TrainImages", "ValImages", "TestImages"),
        ("train2017", "val2017", None),
        ("01_trn", None, "02_tst"),
        ("seg_train", None, "seg_test"),
        ("fruit-train", "fruit-val", "fruit-holdout"),
    ],
)
def test_split_folders_by_any_usual_name(
    tmp_path: Path, train: str, validation: str | None, test: str | None
) -> None:
    for name, count in ((train, 20), (validation, 4), (test, 3)):
        for label in ("ripe", "unripe") if name else ():
            write(tmp_path / str(name) / label, count)
    dataset = opened(tmp_path)
    assert dataset.class_names == ("ripe", "unripe")
    expected = {(True, True): [40, 8, 6], (False, True): [36, 4, 6], (True, False): [36, 4, 8]}
    assert sizes(dataset) == expected[validation is not None, test is not None]
    assert dataset.own_splits == {"test", *(["validation"] if validation and test else [])}


def test_split_names_may_be_classes(tmp_path: Path) -> None:
    """Without class folders inside, `train` beside `bus` is a vehicle and `valid` a kind of ticket."""
    for name in ("train", "bus", "valid"):
        write(tmp_path / name, 10)
    assert opened(tmp_path).class_names == ("bus", "train", "valid")


def test_folders_of_views_are_no_splits(tmp_path: Path) -> None:
    for name in ("steam_train", "steam_engine"):
        for view in ("front", "side"):
            write(tmp_path / name / view, 10)
    assert opened(tmp_path).class_names == ("steam_engine", "steam_train")


def test_our_output_among_the_photos_is_no_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, 10)
    for place, mark in (
        ("network", MANIFEST),
        ("runs/1", "run.toml"),
        ("runs/2", "run.lock"),
        ("s", "study.toml"),
    ):
        write(tmp_path / place / "figures", 3)
        (tmp_path / place / mark).write_text("")
    (tmp_path / "runs" / ".DS_Store").write_text("")
    dataset = opened(tmp_path)
    assert dataset.class_names == ("a", "b")
    assert not dataset.left_out
    (tmp_path / "runs" / "notes.txt").write_text("")
    assert opened(tmp_path).class_names == ("a", "b", "runs")


def test_our_marks_are_those_of_the_folders() -> None:
    assert {MANIFEST, run_folder.CONFIG_FILE, run_folder.LOCK_FILE, STUDY_FILE} == MARKS


def test_splits_inside_the_classes_are_refused_with_a_line_that_turns_them(tmp_path: Path) -> None:
    root = tmp_path / "my photos"
    for name in ("ripe", "not ripe"):
        write(root / name / "Train", 10)
        write(root / name / "test", 4)
    with pytest.raises(DataError, match="'not ripe/Train' and 'not ripe/test'; the class folders") as caught:
        opened(root)
    subprocess.run(["bash", "-c", str(caught.value.hint)], check=True)
    dataset = opened(root)
    assert dataset.class_names == ("not ripe", "ripe")
    assert sizes(dataset) == [18, 2, 8]


@pytest.mark.parametrize(
    ("folders", "message", "hint"),
    [
        (["Test/a", "Test/b", "Valid/a", "Valid/b"], "no folder of training images", "train"),
        (["a", "b", "test/a", "test/b"], "'test' but no folder of training images", "train"),
        (["train/a", "train/b", "Training/a", "test/a"], "'Training' and 'train', both", "Move one"),
        (["train/a", "train/b"], "neither test nor val", "imagefolder:{root}/train"),
        (["train", "test"], "'{root}/train' holds 10 photos and no class folders", "Sort them"),
        (["train/a", "train/b", "val"], "'{root}/val' holds 10 photos and no", "imagefolder:{root}/train"),
        (
            ["photos/a", "photos/b"],
            "one folder, 'photos', and the class folders lie",
            "imagefolder:{root}/photos",
        ),
        (["photos/train/a", "photos/test/a"], "lie in that", "imagefolder:{root}/photos"),
        (
            ["train/train/a", "train/train/b", "test/a"],
            "lie in that",
            "mv {root}/train/train/* {root}/train/",
        ),
        (["a"], "one class folder, 'a'", "another class"),
        (["."], "'{root}' holds 10 photos and no class folders", "Sort them"),
        (["train/a", "train/b", "test/a", "test/b", "test/c"], "10 photos of the class 'c', of which", "Add"),
        (["train/Ripe", "train/b", "test/ripe", "test/b"], "class 'ripe'", "Is 'Ripe' meant"),
        (
            ["train/a", "train/b", "test/a", "test/b", "val/a", "val/c"],
            "'{root}/val' holds 10 photos of",
            "Add",
        ),
    ],
)
def test_what_is_not_a_data_set_is_named(tmp_path: Path, folders: list[str], message: str, hint: str) -> None:
    for folder in folders:
        write(tmp_path / folder, 10)
    with pytest.raises(DataError) as caught:
        opened(tmp_path)
    assert message.format(root=tmp_path) in caught.value.message
    assert hint.format(root=tmp_path) in str(caught.value.hint)


def test_a_test_folder_may_lack_a_class(tmp_path: Path) -> None:
    for folder, count in (("train/a", 9), ("train/b", 9), ("train/c", 9), ("test/a", 4), ("test/c", 2)):
        write(tmp_path / folder, count)
    (tmp_path / "test" / "empty").mkdir()
    dataset = opened(tmp_path)
    assert np.bincount(dataset.labels["test"]).tolist() == [4, 0, 2]


def test_hidden_files_are_left_out_at_every_depth(tmp_path: Path) -> None:
    for label in ("a", "b"):
        write(tmp_path / label, 8)
        write(tmp_path / label / "more", 2)
        for hidden in ("@eaDir", ".ipynb_checkpoints", "more/.thumbnails", "__MACOSX", "#recycle"):
            write(tmp_path / label / hidden, 3)
        (tmp_path / label / "._000.png").write_bytes(b"\0\5\x16\7" + bytes(78))
        (tmp_path / label / "Thumbs.db").write_bytes(b"")
    for hidden in ("__MACOSX", ".cache", "@eaDir"):
        write(tmp_path / hidden / "a", 3)
    dataset = opened(tmp_path)
    assert dataset.class_names == ("a", "b")
    assert sum(sizes(dataset)) == 20
    assert {item.reason for item in dataset.left_out} == {module.HIDDEN}


def test_what_is_left_out_is_told_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("a", "b"):
        write(tmp_path / label, 8)
        write(tmp_path / label, 8, "jfif")
    write(tmp_path, 1)
    for name in ("a/x.heic", "a/y.avif", "a/notes.txt", "b/README"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "b")
    monkeypatch.setattr(module, "_readable_endings", frozenset[str])
    dataset = opened(tmp_path)
    assert sum(sizes(dataset)) == 32
    assert {(item.path.name, item.reason) for item in dataset.left_out} == {
        ("000.png", "beside the folders that are read"),
        ("x.heic", ".heic (pip install 'ofa-toolkit[heif]' to read them)"),
        ("y.avif", ".avif (pip install -U pillow to read them)"),
        ("notes.txt", ".txt"),
        ("README", "without an ending"),
        ("gone.png", "links to nothing"),
        ("linked", "linked folders"),
    }


def test_a_class_of_unread_files_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", 8)
    (tmp_path / "b").mkdir()
    for number in range(3):
        (tmp_path / "b" / f"{number}.heic").write_bytes(b"")
    monkeypatch.setattr(module, "_readable_endings", frozenset[str])
    with pytest.raises(DataError, match="class 'b' has no images") as caught:
        opened(tmp_path)
    assert "3 .heic (pip install" in str(caught.value.hint)


def test_spellings_of_unicode_are_one_class(tmp_path: Path) -> None:
    for split, name in (("train", "K\u00e4se"), ("test", "Ka\u0308se")):
        write(tmp_path / split / name, 8)
        write(tmp_path / split / "Brot", 8)
    assert opened(tmp_path).class_names == ("Brot", "K\u00e4se")


@pytest.mark.parametrize("name", [b"K\x84se", b"two\nlines", b"it's \xff"])
def test_names_that_cannot_be_written_down_are_refused_with_a_line_that_renames(
    tmp_path: Path, name: bytes
) -> None:
    write(tmp_path / "a", 8)
    write(tmp_path / os.fsdecode(name), 8)
    with pytest.raises(DataError, match="not one line of UTF-8") as caught:
        opened(tmp_path)
    assert caught.value.message.isascii()
    subprocess.run(["bash", "-c", str(caught.value.hint)], check=True)
    assert opened(tmp_path).class_names == ("NEW_NAME", "a")


@pytest.mark.parametrize("counts", [[3, 3], [3, 200], [4, 7, 100, 3], [12] * 10, [5, 1000, 3]])
def test_every_class_is_in_every_split(tmp_path: Path, counts: list[int]) -> None:
    for label, count in enumerate(counts):
        write(tmp_path / f"class {label:02d}", count)
    for seed in range(3):
        dataset = opened(tmp_path, seed=seed)
        assert sum(sizes(dataset)) == sum(counts)
        for split in SPLITS:
            assert np.bincount(dataset.labels[split], minlength=len(counts)).min() >= 1


def test_sizes_of_splits_are_kept_to_the_image(tmp_path: Path) -> None:
    for label, count in (("a", 40), ("b", 3), ("c", 17)):
        write(tmp_path / label, count)
    for test_size, validation_size in ((3, 3), (10, 30), (54, 3), (5, 52)):
        dataset = opened(tmp_path, test_size=test_size, validation_size=validation_size)
        assert sizes(dataset) == [60 - test_size - validation_size, validation_size, test_size]
        for split in SPLITS:
            assert np.bincount(dataset.labels[split], minlength=3).min() >= 1
    for options, low, high in (
        ({"test_size": 2}, "--set data.test_size=3", "--test-size 3"),
        ({"test_size": 55}, "--set data.test_size=54", "--test-size 54"),
        ({"test_size": 10, "validation_size": 60}, "--set data.validation_size=47", "--validation-size 47"),
    ):
        with pytest.raises(DataError, match="cannot be held out") as caught:
            opened(tmp_path, **options)
        assert low in str(caught.value.hint)
        assert high in str(caught.value.hint)


def test_two_photos_of_a_class_are_too_few(tmp_path: Path) -> None:
    write(tmp_path / "ok", 100)
    write(tmp_path / "defect", 2)
    with pytest.raises(
        DataError, match=r"'defect' \(2\). The least are 3 each, one for training, validation"
    ):
        opened(tmp_path)

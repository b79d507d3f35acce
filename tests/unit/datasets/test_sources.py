"""Every kind of data set, from files the test makes; and what is said when they are wrong."""

from __future__ import annotations

import hashlib
import pickle
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision import datasets as torchvision_datasets

from ofa_toolkit.core.errors import ConfigError, DataError, UnknownNameError
from ofa_toolkit.datasets import SOURCES, ImageDataset, TransformConfig, open_dataset
from ofa_toolkit.datasets.arrays import ArrayDataset, measured_preprocessing
from ofa_toolkit.datasets.report import (
    check_sizes_are_used,
    check_transforms_are_used,
    summary,
    warnings,
)
from ofa_toolkit.datasets.splits import hold_out_validation
from ofa_toolkit.datasets.transforms import stretch_boxes

SPLITS = ("train", "validation", "test")


def write_npz(path: Path, **changes: Any) -> str:
    stream = np.random.default_rng(0)
    arrays = {
        "train_images": stream.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8),
        "train_labels": np.arange(40) % 4,
        "test_images": stream.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8),
        "test_labels": np.arange(12) % 4,
    }
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return f"npz:{path}"


def write_photos(root: Path, classes: dict[str, int], size: tuple[int, int] = (40, 30)) -> Path:
    stream = np.random.default_rng(1)
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = stream.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small CIFAR-10 in torchvision's layout; its checksums are replaced by those of these files."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    stream = np.random.default_rng(2)
    sums: dict[str, str] = {}
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        if name == "batches.meta":
            content: dict[str, Any] = {"label_names": [f"class {label}" for label in range(10)]}
        else:
            content = {
                "data": stream.integers(0, 256, (40, 3072), dtype=np.uint8),
                "labels": [int(label) for label in np.arange(40) % 10],
            }
        raw = pickle.dumps(content)
        (folder / name).write_bytes(raw)
        sums[name] = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    reader = torchvision_datasets.CIFAR10
    monkeypatch.setattr(reader, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(reader, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": sums["batches.meta"]})
    return root


def make(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageDataset:
    if kind == "npz":
        return open_dataset(write_npz(tmp_path / "images.npz"), validation_size=8)
    if kind == "fake":
        return open_dataset("fake:classes=4,size=8,train=40,test=12", validation_size=8)
    if kind == "cifar10":
        write_cifar10(tmp_path, monkeypatch)
        return open_dataset(f"cifar10:{tmp_path}", validation_size=10)
    if kind == "photos in memory":
        root = write_photos(tmp_path / "photos", {"ant": 10, "bee": 10})
        return open_dataset(f"imagefolder:{root}", resolution=32, validation_size=4)
    assert kind == "photos"
    root = write_photos(tmp_path / "photos", {"ant": 10, "bee": 10})
    return open_dataset(f"imagefolder:{root}", resolution=72, validation_size=4)


KINDS = ("npz", "fake", "cifar10", "photos in memory", "photos")


@pytest.mark.parametrize("kind", KINDS)
def test_batches(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make(kind, tmp_path, monkeypatch)
    side = dataset.resolution
    for split in SPLITS:
        batches = list(dataset.batches(split, 3))
        assert sum(len(labels) for _, labels in batches) == dataset.num_images(split)
        labels = torch.cat([labels for _, labels in batches])
        assert sorted(set(labels.tolist())) == list(range(dataset.num_classes))
        images = torch.cat([images for images, _ in batches])
        assert images.shape[1:] == (3, side, side)
        assert images.dtype == torch.float32
        assert abs(float(images.mean())) < 1.5
    assert len(list(dataset.batches("train", 3, limit=5))) == 2
    smaller, _ = next(iter(dataset.batches("test", 2, resolution=6)))
    assert smaller.shape == (2, 3, 6, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_are_functions_of_seed_and_position(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make(kind, tmp_path, monkeypatch)
    whole = list(dataset.epoch(1, 4, seed=3))
    assert len(whole) == dataset.steps_per_epoch(4)
    for (images, labels), (again, labels_again) in zip(whole, dataset.epoch(1, 4, seed=3), strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)
    resumed, _ = next(dataset.epoch(1, 4, seed=3, first_step=2))
    assert torch.equal(resumed, whole[2][0])
    parts = [next(dataset.epoch(1, 4, seed=3, rank=rank, world_size=2))[0] for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole[0][0])
    other, _ = next(dataset.epoch(2, 4, seed=3))
    assert not torch.equal(other, whole[0][0])


def test_workers_change_nothing(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos", {"ant": 8, "bee": 8})
    options: dict[str, Any] = {"resolution": 72, "validation_size": 4}
    transforms = TransformConfig(auto_augment="trivial", color_jitter="tf", erasing=0.5)
    alone = open_dataset(f"imagefolder:{root}", transforms=transforms, **options)
    helped = open_dataset(f"imagefolder:{root}", transforms=transforms, num_workers=2, **options)
    for (images, _), (same, _) in zip(alone.epoch(0, 4, seed=0), helped.epoch(0, 4, seed=0), strict=True):
        assert torch.equal(images, same)


def test_splits_share_no_image() -> None:
    dataset = open_dataset("fake:classes=4,size=8,train=40,test=12", validation_size=8)
    seen = [
        tuple(image.flatten().tolist())
        for split in SPLITS
        for x, _ in dataset.batches(split, 9)
        for image in x
    ]
    assert len(set(seen)) == 40 + 12


def test_augmentation_crops_within_a_reflected_border() -> None:
    plain = open_dataset("fake:classes=2,size=16,train=20,test=4", validation_size=2)
    images = torch.cat([x for x, _ in plain.epoch(0, 18, seed=0)])
    originals = torch.cat([x for x, _ in plain.batches("train", 18)])
    # Every augmented centre pixel is a pixel of some original image: nothing is blended or invented.
    values = set(originals[:, 0].flatten().tolist())
    assert all(value in values for value in images[:, 0, 8, 8].tolist())


def test_border_is_made_when_images_are_first_augmented() -> None:
    dataset = open_dataset("fake:classes=2,size=16,train=20,test=4", validation_size=2)
    assert isinstance(dataset, ArrayDataset)
    [(before, _)] = dataset.batches("train", 18)
    assert not dataset._padded
    next(dataset.epoch(0, 18, seed=0))
    padded, held = dataset._padded["train"], dataset._images["train"]
    assert padded.shape[1:3] == (20, 20)
    assert held.untyped_storage().data_ptr() == padded.untyped_storage().data_ptr()
    [(after, _)] = dataset.batches("train", 18)
    assert torch.equal(before, after)


def test_cutout_blanks_a_square() -> None:
    transforms = TransformConfig(cutout=0.5, crop_padding=0.0, flip=False)
    dataset = open_dataset("fake:classes=2,size=16,train=20,test=4", validation_size=2, transforms=transforms)
    images, _ = next(dataset.epoch(0, 18, seed=0))
    blank = (images == 0).all(dim=1).flatten(1).sum(1)
    assert int(blank.min()) >= 16
    assert int(blank.max()) <= 8 * 8 + 1


def test_every_augmentation_of_small_images_and_photos_acts(tmp_path: Path) -> None:
    """Apart from those that are refused by name: no setting is accepted and ignored."""
    root = write_photos(tmp_path / "photos", {"ant": 8, "bee": 8})

    def first(resolution: int, **changes: Any) -> torch.Tensor:
        transforms = TransformConfig(**{"flip": False, **changes})
        dataset = open_dataset(f"imagefolder:{root}", resolution=resolution, transforms=transforms)
        check_transforms_are_used(dataset, transforms)
        images = next(dataset.epoch(0, 8, seed=0))[0]
        parts = [next(dataset.epoch(0, 8, seed=0, rank=rank, world_size=2))[0] for rank in range(2)]
        assert torch.equal(torch.cat(parts), images)
        return images

    for resolution, refused in ((32, "crop_scale"), (72, "crop_padding")):
        plain = first(resolution)
        for changes in (
            {"flip": True},
            {"resized_crop": 0.5},
            {"cutout": 0.5},
            {"auto_augment": "imagenet"},
            {"auto_augment": "trivial"},
            {"color_jitter": "torch"},
            {"color_jitter": "tf"},
            {"erasing": 1.0},
            {"crop_scale": 0.5},
            {"crop_padding": 0.25},
        ):
            if refused in changes:
                with pytest.raises(DataError, match=f"data.transforms.{refused} '"):
                    first(resolution, **changes)
            else:
                assert not torch.equal(first(resolution, **changes), plain), changes
    blank = (first(72, cutout=0.5) == 0).all(dim=1).flatten(1).sum(1)
    assert blank.tolist() == [36 * 36] * 8
    for beside in ({"crop_scale": 0.3}, {"crop_padding": 0.2}):
        with pytest.raises(ConfigError, match="has no use beside resized_crop"):
            TransformConfig(resized_crop=0.5, **beside)


def test_resized_crops_differ_and_stay_inside() -> None:
    transforms = TransformConfig(resized_crop=0.3, flip=False)
    source = "fake:classes=2,size=16,train=20,test=4"
    dataset = open_dataset(source, validation_size=2, transforms=transforms)
    images = torch.cat([x for x, _ in dataset.epoch(0, 6, seed=0)])
    whole = torch.cat([x for x, _ in dataset.epoch(0, 18, seed=0)])
    plain = torch.cat([x for x, _ in dataset.batches("train", 18)])
    assert images.shape == plain.shape
    assert whole.is_contiguous(memory_format=torch.channels_last)
    # Bilinear weights add up to one, so no value leaves the range of the images. No image stays.
    assert plain.min() <= whole.min()
    assert whole.max() <= plain.max()
    assert all(not (image == plain).flatten(1).all(1).any() for image in whole)


def test_a_box_is_stretched_as_interpolation_does() -> None:
    images = torch.rand(2, 3, 8, 8)
    whole = stretch_boxes(images, np.array([[0.0, 0, 8, 8], [0, 0, 8, 8]]))
    assert torch.allclose(whole, images, atol=1e-6)
    stretched = stretch_boxes(images, np.array([[2.0, 3, 4, 4], [2, 3, 4, 4]]))
    reference = functional.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(stretched, reference[:, :, 4:12, 6:14], atol=1e-5)


def test_normalisation_of_many_pixels_is_their_mean() -> None:
    # Twenty million pixels a channel: more than a float32 can count.
    images = np.broadcast_to(np.array([255, 51, 0], dtype=np.uint8), (5_000, 64, 64, 3))
    found = measured_preprocessing(images)
    assert found["mean"] == [1.0, 0.2, 0.0]
    assert found["std"] == [0.001] * 3


def test_held_out_classes_are_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    kept, held_out = hold_out_validation(labels, 20, ["a", "b", "c"], seed=0)
    assert np.bincount(labels[held_out]).tolist() == [12, 6, 2]
    assert sorted([*kept, *held_out]) == list(range(100))


def test_imagenet100_uses_its_list(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_photos(tmp_path / split, {"n01": 6, "n02": 6, "n03": 6})
    listed = tmp_path / "classes.txt"
    listed.write_text("n03\nn01\n")
    dataset = open_dataset(f"imagenet100:{tmp_path}", class_list=listed, resolution=32, validation_size=2)
    assert dataset.class_names == ("n01", "n03")
    assert [dataset.num_images(split) for split in SPLITS] == [10, 2, 12]
    with pytest.raises(DataError, match="has no folder for class"):
        open_dataset(f"imagenet100:{tmp_path}", resolution=32)
    with pytest.raises(DataError, match="3 class folders; ImageNet has 1000"):
        open_dataset(f"imagenet:{tmp_path}", resolution=32)


def _damaged_photo(tmp_path: Path) -> str:
    root = write_photos(tmp_path / "photos", {"ant": 8, "bee": 8})
    path = root / "ant" / "3.png"
    path.write_bytes(path.read_bytes()[:60])
    return f"imagefolder:{root}"


@pytest.mark.parametrize("resolution", [32, 72])
def test_a_damaged_image_is_named(tmp_path: Path, resolution: int) -> None:
    source = _damaged_photo(tmp_path)

    def read_all() -> None:
        dataset = open_dataset(source, resolution=resolution, validation_size=4)
        for split in SPLITS:
            list(dataset.batches(split, 4))

    with pytest.raises(DataError, match=r"3\.png"):
        read_all()


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos", {"ant": 8, "bee": 8})
    (root / "cow").mkdir()
    with pytest.raises(DataError, match="'cow' has no images"):
        open_dataset(f"imagefolder:{root}", resolution=32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((40, 8, 6, 3), np.uint8)}, "expected squares"),
        ({"train_images": np.zeros((40, 8, 8, 3), np.float32)}, "float32"),
        ({"test_images": np.zeros((12, 9, 9, 3), np.uint8)}, "test_images"),
        ({"train_labels": np.arange(39)}, "train_labels"),
        ({"test_labels": None}, "no array 'test_labels'"),
        ({"test_labels": np.array([4] + 11 * [0])}, "1 of the test_labels are '4', which no training"),
        ({"train_labels": np.arange(40) % 4 * 2}, "no training image has the label 1; they go up to 6"),
        ({"train_labels": np.int64(3)}, r"train_labels are \(\)"),
        ({"train_labels": np.full(40, 10**9)}, "from 1000000000 to 1000000000, for 40 training images"),
        ({"train_labels": np.full(40, 2**62)}, "for 40 training images"),
        ({"train_labels": np.full(40, 2**64 - 1, np.uint64)}, "to 18446744073709551615, for 40"),
        ({"train_labels": np.arange(40) % 4 - 1}, "from -1 to 2"),
        ({"train_labels": np.zeros(40), "test_labels": np.zeros(12)}, "float64; expected integers"),
        ({"train_labels": np.zeros(40, int), "test_labels": np.zeros(12, int)}, "are of one class, '0'"),
        ({"train_images": np.zeros((40, 0, 0, 3), np.uint8)}, "at least one pixel"),
        ({"train_images": np.zeros((0, 8, 8, 3), np.uint8)}, "at least one pixel"),
        ({"train_images": np.zeros((40, 8, 8, 3), np.uint16)}, "uint16"),
        ({"train_labels": np.array(["a"] * 40, object)}, "train_labels say they are object"),
        ({"class_names": np.array(["a", "b"])}, "class_names"),
        ({"class_names": np.array(["a", "b", "a", "d"])}, "'a' among the class_names"),
        ({"class_names": np.array(["a", "b", "c\u2028", "d"])}, "'c.u2028' among the class_names"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(write_npz(tmp_path / "images.npz", **changes))


def test_grey_and_float_arrays_are_converted_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = np.random.default_rng(0)
    whole = {
        f"{split}_images": stream.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        for split, count in (("train", 40), ("test", 12))
    }
    grey = {name: images[..., :1].repeat(3, 3) for name, images in whole.items()}
    monkeypatch.chdir(tmp_path)
    for number, (arrays, expected) in enumerate(
        (
            ({name: images[..., 0] for name, images in whole.items()}, grey),
            ({name: images[..., :1] for name, images in whole.items()}, grey),
            ({name: (images / 255).astype(np.float32) for name, images in whole.items()}, whole),
            ({name: images[..., 0] / 255 for name, images in whole.items()}, grey),
        )
    ):
        path = tmp_path / f"its {number}.npz"
        labels = {
            f"{split}_labels": np.arange(count)[:, None] % 4 for split, count in (("train", 40), ("test", 12))
        }
        source = write_npz(path, **arrays, **labels)
        with pytest.raises(DataError, match="expected uint8") as caught:
            open_dataset(source)
        # The hint's second line writes a file that opens as it is.
        told, line = str(caught.value.hint).split("; a new file: ")
        assert told.endswith("--set data.convert=true")
        subprocess.run(["bash", "-c", line], check=True)
        for dataset in (
            open_dataset(source, convert=True),
            open_dataset(f"npz:{path.with_name(path.stem + '-rgb.npz')}"),
        ):
            assert isinstance(dataset, ArrayDataset)
            assert dataset.labels["test"].tolist() == [*range(4)] * 3
            assert np.array_equal(dataset._images["test"].numpy(), expected["test_images"])
    wide = write_npz(tmp_path / "wide.npz", train_images=np.full((40, 8, 8, 3), 2.5))
    with pytest.raises(DataError, match=r"floats from 2\.5 to 2\.5"):
        open_dataset(wide, convert=True)
    with pytest.raises(DataError, match="for npz files"):
        open_dataset("fake", convert=True)


def _as_classes(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return labels


@pytest.mark.parametrize(
    ("images", "labels", "names"),
    [
        (lambda x: x.transpose(0, 3, 1, 2), _as_classes, None),
        (lambda x: np.concatenate([x, x[..., :1]], 3), _as_classes, None),
        (lambda x: x.astype(np.float32), _as_classes, None),
        (lambda x: x / 127.5 - 1, _as_classes, None),
        (lambda x: x.astype(np.int64), _as_classes, None),
        (lambda x: x.astype(">u2") * 257, _as_classes, None),
        (lambda x: x.astype(np.uint16), _as_classes, None),
        (lambda x: x, lambda y: np.eye(4)[y], None),
        (lambda x: x, lambda y: y.astype(float), None),
        (lambda x: x, lambda y: y + 1, ("1", "2", "3", "4")),
        (lambda x: x, lambda y: 10 * y[:, None], ("0", "10", "20", "30")),
        (lambda x: x, lambda y: np.array(list("dcba"))[y], ("a", "b", "c", "d")),
    ],
)
@pytest.mark.parametrize("style", ["{}_{}", "{1}_{0}", "one"])
def test_other_forms_of_arrays_come_with_a_line_that_converts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Any, labels: Any, names: Any, style: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    pictures[0, 0, 0] = 255
    classes = np.arange(40) % 4
    if style == "one":
        arrays = {"X": images(pictures), "y": labels(classes)}
    else:
        kinds = ("images", "labels") if style == "{}_{}" else ("x", "y")
        arrays = {
            style.format(split, kind): read(values)[rows]
            for kind, read, values in ((kinds[0], images, pictures), (kinds[1], labels, classes))
            for split, rows in (("train", slice(28)), ("test", slice(28, None)))
        }
    np.savez("it's $HOME.npz", **arrays)
    with pytest.raises(DataError) as caught:
        open_dataset("npz:it's $HOME.npz")
    _, _, program = shlex.split(str(caught.value.hint))
    exec(program, {})
    dataset = open_dataset("npz:it's $HOME-rgb.npz")
    assert isinstance(dataset, ArrayDataset)
    assert dataset.class_names == (names or ("0", "1", "2", "3"))
    assert dataset.num_images("test") == (8 if style == "one" else 12)
    numbers = dataset._images["test"].numpy()[:, 5, 5, 1]
    first = 3 if names == ("a", "b", "c", "d") else 0
    assert (dataset.labels["test"] == np.abs(first - numbers.astype(int) % 4)).all()


def test_what_nobody_can_know_has_no_line(tmp_path: Path) -> None:
    for changes in (
        {"train_images": np.full((40, 8, 8, 3), np.nan)},
        {"train_images": np.zeros((40, 8, 6, 3), np.uint8), "test_images": np.zeros((12, 8, 6, 3), np.uint8)},
        {"train_labels": np.arange(40) % 4 - 1},
        {"train_labels": np.full(40, 10**9)},
        {"train_labels": None},
    ):
        with pytest.raises(DataError) as caught:
            open_dataset(write_npz(tmp_path / "images.npz", **changes))
        assert "python" not in str(caught.value.hint)


def test_other_arrays_are_told(tmp_path: Path) -> None:
    dataset = open_dataset(write_npz(tmp_path / "images.npz", val_images=np.zeros(3)))
    assert [(item.path.name, item.reason) for item in dataset.left_out] == [
        ("val_images", "arrays that are not read")
    ]


def test_a_user_is_told_what_matters(tmp_path: Path) -> None:
    dataset = open_dataset("fake:classes=4,size=8,train=40,test=3", validation_size=8)
    assert summary(dataset) == (
        "fake images: 4 classes, 43 images (32 train, 8 validation, 3 test), 10 to 11 a class"
    )
    assert warnings(dataset) == ["No test image is of 'wave 3': its accuracies say nothing about them."]
    root = write_photos(tmp_path / "photos", {"ok": 40, "rare": 5})
    (root / "ok" / "list.txt").write_text("")
    (root / "ok" / ".list.txt").write_text("")
    photos = open_dataset(f"imagefolder:{root}", resolution=72)
    told = warnings(photos)
    assert told[0].endswith("photos: 1 .txt.")
    assert "Class 'ok' has 10 times the training images of 'rare'" in told[1]
    assert "data.class_weights=balanced" in told[1]
    assert len(warnings(photos, is_weighted=True)) == 1


def test_the_size_of_a_split_that_is_there_is_refused(tmp_path: Path) -> None:
    dataset = open_dataset("fake")
    check_sizes_are_used(dataset, 10, None)
    with pytest.raises(DataError, match="test_size '10' has no use: fake images has test images of its own"):
        check_sizes_are_used(dataset, None, 10)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "images.npz")
    path = tmp_path / "images.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"images\.npz"):
        open_dataset(source)


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind != "fake"])
def test_a_missing_place_is_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_dataset(f"{kind}:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="names no place"):
        open_dataset(kind)


def test_unknown_names_have_hints() -> None:
    with pytest.raises(UnknownNameError) as caught:
        open_dataset("imagefolders:x")
    assert caught.value.hint == "Did you mean 'imagefolder'?"
    with pytest.raises(DataError, match="'shape=3' is not understood"):
        open_dataset("fake:shape=3")
    with pytest.raises(DataError, match="cannot be downloaded"):
        open_dataset("npz:x", download=True)

"""One way to read a picture: the same pixels in training, evaluation and the runner of a bundle."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vermin
from PIL import Image
from torchvision.transforms import v2

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.datasets import open_dataset
from ofa_toolkit.datasets import picture as module
from ofa_toolkit.datasets.image_folder import read_image
from ofa_toolkit.datasets.picture import PictureError, fit_picture, fit_pixels, read_header, read_picture
from ofa_toolkit.datasets.transforms import Preprocessing, photo_transform

STREAM = np.random.default_rng(0)
RAMP = np.arange(48, dtype=np.float64).reshape(6, 8) / 47
COLOURS = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 0.5)], axis=2)
EIGHT_BITS = np.rint(255 * RAMP).astype(np.uint8)


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    levels = np.rint(65535 * RAMP).astype(np.uint16)
    for ending in ("png", "tif", "pgm"):
        path = tmp_path / f"grey.{ending}"
        Image.fromarray(levels).save(path)
        assert np.array_equal(np.asarray(read_picture(path)), np.stack([EIGHT_BITS] * 3, axis=2)), ending
    big_endian = tmp_path / "motorola.tif"
    Image.fromarray(levels.astype(">u2")).save(big_endian)
    assert np.array_equal(np.asarray(read_picture(big_endian))[..., 0], EIGHT_BITS)


def test_twelve_bits_are_scaled(tmp_path: Path) -> None:
    values = (0, 1365, 4095, 2730)
    packed = bytes(
        byte
        for a, b in zip(values[::2], values[1::2], strict=True)
        for byte in (a >> 4, (a & 15) << 4 | b >> 8, b & 255)
    )
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(packed)}
    directory = struct.pack("<H", len(tags))
    for tag, value in tags.items():
        directory += struct.pack("<HHII", tag, 4, 1, value)
    path = tmp_path / "scan.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory + bytes(4))
    assert np.asarray(read_picture(path))[0, :, 0].tolist() == [0, 85, 255, 170]


def test_floats_from_0_to_1_are_scaled_and_others_named(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(RAMP.astype(np.float32)).save(path)
    assert np.array_equal(np.asarray(read_picture(path))[..., 1], EIGHT_BITS)
    for values in (255 * RAMP, RAMP - 0.5, np.where(RAMP > 0.5, np.nan, RAMP)):
        Image.fromarray(values.astype(np.float32)).save(path)
        with pytest.raises(DataError, match=r"float\.tif' cannot be read as an image: it holds floats"):
            read_image(path)
    Image.fromarray((RAMP * 1000).astype(np.int32)).save(path)
    with pytest.raises(DataError, match=r"float\.tif' .* 32-bit numbers"):
        read_image(path)


def test_a_bomb_is_named_and_a_large_photo_read_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.png"
    Image.new("L", (100, 60)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000)
    with pytest.raises(DataError, match=r"huge\.png.*more than .* million pixels"):
        read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)
    assert read_image(path).size == (100, 60)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent.jpg"
    with pytest.raises(PictureError, match="No such file"):
        read_picture(absent)
    path = tmp_path / "picture.png"
    Image.fromarray(EIGHT_BITS).save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[:40], whole[:60]):
        path.write_bytes(damaged)
        with pytest.raises(PictureError):
            read_picture(path)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(10))
def test_photos_are_turned_upright(tmp_path: Path, ending: str, orientation: int) -> None:
    upright = Image.fromarray(np.kron(EIGHT_BITS, np.ones((8, 8), np.uint8))).convert("RGB")
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"photo.{ending}"
    turned = upright if stored is None else upright.transpose(stored)
    options: dict[str, Any] = {"jpg": {"quality": 95}, "webp": {"lossless": True}}.get(ending, {})
    turned.save(path, exif=exif, **options)
    found = np.asarray(read_picture(path)).astype(int)
    assert found.shape == np.asarray(upright).shape
    assert np.abs(found - np.asarray(upright).astype(int)).max() <= (8 if ending == "jpg" else 0)
    assert read_header(path)[:2] == upright.size


class OldImage:
    """What an old Pillow gives for a file: no `getexif` before version 6; up to 9 TIFFs are turned by it."""

    mode = "RGB"

    def __init__(self, **attributes: Any) -> None:
        self.turns: list[int] = []
        self.__dict__.update(attributes)

    def load(self) -> None:
        pass

    def transpose(self, turn: int) -> OldImage:
        self.turns.append(turn)
        return self


@pytest.mark.parametrize(
    ("attributes", "turns"),
    [
        ({"_getexif": lambda: {274: 6}}, [4]),
        ({"_getexif": lambda: None}, []),
        ({"tag_v2": {274: 3}}, [3]),
        ({}, []),
        ({"getexif": lambda: {274: 8}}, [2]),
        ({"getexif": lambda: {274: 8}, "_tile_orientation": 8}, []),
        ({"getexif": lambda: {274: 8}, "_tile_orientation": None}, [2]),
    ],
)
def test_old_versions_of_pillow_turn_once(attributes: dict[str, Any], turns: list[int]) -> None:
    image = OldImage(**attributes)
    assert module._load_upright(image) is image
    assert image.turns == turns


def test_damaged_exif_leaves_a_photo_as_it_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    image = Image.fromarray(EIGHT_BITS)
    image.save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_picture(path).size == image.size


def modes() -> dict[str, Image.Image]:
    """A picture in every mode that files have."""
    colours = Image.fromarray(np.rint(255 * COLOURS).astype(np.uint8))
    made = {mode: colours.convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")}
    made["RGBA"].putalpha(Image.fromarray(EIGHT_BITS))
    made["I;16"] = Image.fromarray(np.rint(65535 * RAMP).astype(np.uint16))
    made["F"] = Image.fromarray(RAMP.astype(np.float32))
    return made


def transformed(path: Path, size: int, crop: float, interpolation: Any) -> torch.Tensor:
    preprocessing = Preprocessing(
        size=size, mean=[0.0] * 3, std=[1.0] * 3, interpolation=interpolation, crop=crop
    )
    judged: torch.Tensor = photo_transform(preprocessing, size, None)(read_image(path))
    return judged


@pytest.mark.parametrize("mode", modes())
def test_evaluation_and_the_board_see_the_same_pixels_in_every_mode(tmp_path: Path, mode: str) -> None:
    path = tmp_path / {"CMYK": "picture.tif", "YCbCr": "picture.jpg", "F": "picture.tif"}.get(
        mode, "picture.png"
    )
    modes()[mode].save(path)
    judged = transformed(path, 5, 0.875, "bilinear")
    on_board = fit_pixels(np.asarray(read_picture(path)), 5, 0.875, "bilinear")
    assert np.array_equal((judged * 255).round().byte().permute(1, 2, 0).numpy(), on_board)
    assert len(np.unique(on_board)) > 1


# Where torchvision's truncation matters: 16:9, 4:3, 3:2, and strips.
CAMERAS = {
    (1280, 720): [(128, 0.875), (224, 0.875), (64, 1.0)],
    (640, 480): [(128, 0.875), (160, 0.875)],
    (500, 333): [(176, 0.875), (224, 0.875)],
    (333, 500): [(160, 0.875), (48, 0.7)],
    (37, 31): [(64, 1.0), (32, 0.9)],
    (5, 900): [(48, 1.0)],
}


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squares_are_cut_as_by_torchvision_with_and_without_pillow(interpolation: Any) -> None:
    for (width, height), settings in CAMERAS.items():
        image = Image.fromarray(STREAM.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for size, crop in settings:
            cut = np.asarray(fit_picture(image, size, crop, interpolation))
            assert np.array_equal(cut, fit_pixels(np.asarray(image), size, crop, interpolation))
            # Rows first and columns first round differently, and the order depends on Pillow's version.
            mode = v2.InterpolationMode(interpolation)
            theirs = v2.Compose([v2.Resize(-int(-size // crop), mode), v2.CenterCrop(size)])(image)
            assert np.abs(cut.astype(int) - np.asarray(theirs)).mean() < 0.5, (width, height, size)


def test_photos_in_memory_are_the_squares_too(tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        (tmp_path / label).mkdir()
        for number in range(6):
            pixels = STREAM.integers(0, 256, (45, 80, 3), dtype=np.uint8)
            exif = Image.Exif()
            exif[274] = 6
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png", exif=exif)
    dataset = open_dataset(f"imagefolder:{tmp_path}", resolution=32, validation_size=2)
    mean, std = (torch.tensor(dataset.preprocessing[key])[:, None, None] for key in ("mean", "std"))
    for size in (32, 24, 48):
        images = torch.cat([images for images, _ in dataset.batches("test", 4, resolution=size)])
        seen = {(image * std + mean).mul(255).round().byte().numpy().tobytes() for image in images}
        squares = {
            np.asarray(fit_picture(read_picture(path), size, 1.0, "bilinear")).transpose(2, 0, 1).tobytes()
            for path in tmp_path.rglob("*.png")
        }
        assert len(seen) == 2
        assert seen <= squares


def test_heic_is_read_with_pillow_heif(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.heic"
    upright = Image.fromarray(np.kron(EIGHT_BITS, np.ones((8, 8), np.uint8))).convert("RGB")
    pillow_heif.from_pillow(upright).save(path, quality=95)
    found = np.asarray(read_picture(path)).astype(int)
    assert np.abs(found - np.asarray(upright).astype(int)).max() < 20


def test_the_reader_runs_on_old_boards() -> None:
    config = vermin.Config()
    config.add_target((3, 6), exact=False)
    assert module.__file__ is not None
    kit = Path(module.__file__).parents[1] / "export" / "kit"
    for path in (Path(module.__file__), kit / "run.py", kit / "adaptive.py"):
        versions = vermin.detect(path.read_text(encoding="utf-8"), config)
        assert versions[1] is not None
        assert versions[1] <= (3, 6)

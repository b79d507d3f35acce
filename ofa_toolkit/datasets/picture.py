"""One way to read a picture, from training to the board.

`read_picture` gives the pixels that training, evaluation and export see, `fit_picture` the square of them
that a network is judged on, `network_input` that square as the network takes it. Every bundle carries a copy
of this file beside its runner: it runs on Python 3.6 with numpy alone, and imports Pillow, also old ones,
only to read a picture.
"""

# No `from __future__ import annotations`: boards with JetPack 4 have Python 3.6.
import math
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

_ORIENTATION, _BITS_PER_SAMPLE, _SIDES = 274, 258, (256, 257)
"""Tags of EXIF and TIFF."""

_UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""EXIF orientation -> Pillow's transposition, as numbers: their names differ between its versions."""

_TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

_LONGEST = 16
"""Sides of a picture up to which Pillow resizes it."""

_FIXED_POINT = 22
"""Bits after the point of Pillow's resampling weights for 8-bit pixels."""


class PictureError(Exception):
    """A file cannot be read as a picture; one line without the file's name."""


def read_picture(path: Any) -> Any:
    """Decode the first frame of a picture as an 8-bit RGB Pillow image, upright as its EXIF orientation says.

    16-bit greys are divided by 257 and floats from 0 to 1 multiplied by 255. Transparency is dropped. A
    picture whose EXIF data is damaged is taken as it is stored.

    Args:
        path: The file.

    Raises:
        PictureError: It is missing, damaged, no picture, too large, or of numbers whose scale is unknown.
    """
    return _open(path, lambda image: _to_rgb(_pillow(), _load_upright(image), image))


def read_header(path: Any) -> "tuple[int, int, str]":
    """Width and height in pixels, upright, and how a picture is stored, such as `RGB`; nothing is decoded.

    Raises:
        PictureError: It is missing, no picture, or too large.
    """

    def described(image: Any) -> "tuple[int, int, str]":
        # Pillow may have swapped the sides of a TIFF already; its tags have them as stored.
        tags = getattr(image, "tag_v2", None) or {}
        width, height = (tags.get(tag, side) for tag, side in zip(_SIDES, image.size))
        is_turned = _exif(image).get(_ORIENTATION, 1) in _TRANSPOSED
        return (height, width, image.mode) if is_turned else (width, height, image.mode)

    found: "tuple[int, int, str]" = _open(path, described)
    return found


def _open(path: Any, use: Any) -> Any:
    """What a function makes of a file that Pillow opened; one `PictureError` for all that may be wrong."""
    pillow = _pillow()
    try:
        # Pillow warns from half of the size that it refuses.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
            with pillow.open(path) as image:
                return use(image)
    except (PictureError, MemoryError):
        raise
    except pillow.DecompressionBombError:
        limit = 2 * pillow.MAX_IMAGE_PIXELS // 10**6
        raise PictureError("it has more than %d million pixels; store it smaller" % limit) from None
    except Exception as error:  # Pillow's decoders raise a dozen types for damaged files.
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if "cannot identify" in text:
            text = "it is empty, damaged or no picture"
        raise PictureError(text) from error


def network_input(path: Any, settings: Any) -> "npt.NDArray[np.float32]":
    """A picture as the network takes it: the central square, normalised, (3, size, size).

    Args:
        path: As `square_pixels` takes it.
        settings: `size`, `crop`, `interpolation`, `mean` and `std`.

    Raises:
        PictureError: It cannot be read.
    """
    scaled = (square_pixels(path, settings) / 255.0 - settings["mean"]) / settings["std"]
    image: "npt.NDArray[np.float32]" = scaled.astype(np.float32).transpose(2, 0, 1)
    return image


def square_pixels(path: Any, settings: Any) -> "Pixels":
    """The central square of a picture that a network is judged on, (size, size, 3).

    Args:
        path: A picture, or the pixels (H, W, 3) of one, 8 bits each, in a `.npy` file, which needs no Pillow.
        settings: `size`, `crop` and `interpolation`.

    Raises:
        PictureError: It cannot be read.
    """
    fitting = settings["size"], settings["crop"], settings["interpolation"]
    if str(path).endswith(".npy"):
        try:
            pixels = np.load(str(path))
        except (OSError, ValueError, EOFError) as error:
            raise PictureError(getattr(error, "strerror", None) or str(error)) from error
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise PictureError("it holds %s %s, not uint8 (height, width, 3)" % (pixels.dtype, pixels.shape))
        return fit_pixels(pixels, *fitting)
    return np.asarray(fit_picture(read_picture(path), *fitting))


def fit_picture(picture: Any, size: int, crop: float, interpolation: str) -> Any:
    """Resize the shorter side of an RGB Pillow image to `size / crop` and cut out the central square.

    The geometry is that of torchvision's `Resize` and `CenterCrop`.

    Args:
        picture: A picture of any size.
        size: Side of the result.
        crop: Share of the resized shorter side that the square keeps.
        interpolation: `bilinear` or `bicubic`, antialiased.
    """
    method = {"bilinear": 2, "bicubic": 3}[interpolation]
    if max(picture.size) > _LONGEST * min(picture.size):
        # Pillow would make the whole of a strip before its square is cut out.
        return _pillow().fromarray(fit_pixels(np.asarray(picture), size, crop, interpolation))
    height = picture.size[1]
    (width, left), (new_height, top) = [
        _placement(old, min(picture.size), size, crop) for old in picture.size
    ]
    # One axis after the other: versions of Pillow disagree which comes first, and round in between.
    picture = picture.resize((width, height), method).resize((width, new_height), method)
    return picture.crop((left, top, left + size, top + size))


def fit_pixels(pixels: "Pixels", size: int, crop: float, interpolation: str) -> "Pixels":
    """`fit_picture` of pixels (H, W, 3), without Pillow and the same to the bit; (size, size, 3)."""
    shorter = min(pixels.shape[:2])
    for axis in (1, 0):
        new, start = _placement(pixels.shape[axis], shorter, size, crop)
        pixels = _resample(pixels, axis, new, start, size, interpolation)
    return pixels


def _placement(old: int, shorter: int, size: int, crop: float) -> "tuple[int, int]":
    """Length of a resized axis, truncated as by torchvision, and where the square starts on it."""
    new = int(math.ceil(size / crop) * old / shorter)
    return new, round((new - size) / 2.0)


@lru_cache(maxsize=None)
def _pillow() -> Any:
    """Pillow's image module, which reads HEIC too where pillow-heif is installed."""
    try:
        from PIL import Image
    except ImportError:
        raise PictureError("pictures need Pillow: python3 -m pip install pillow") from None
    try:
        import pillow_heif
    except ImportError:
        return Image
    pillow_heif.register_heif_opener()
    return Image


def _exif(image: Any) -> Any:
    try:
        if hasattr(image, "getexif"):
            return image.getexif()
        return getattr(image, "tag_v2", None) or image._getexif() or {}  # Before Pillow 6.
    except Exception:  # Damaged, or a format of an old Pillow that has none.
        return {}


def _load_upright(image: Any) -> Any:
    exif = _exif(image)
    image.load()
    if getattr(image, "_tile_orientation", None):
        return image  # Pillow 6 to 9 turns TIFFs itself and keeps the tag.
    # Asked after loading: from Pillow 10 on TIFFs are turned too, and the tag is dropped.
    turn = _UPRIGHT.get(exif.get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _to_rgb(pillow: Any, image: Any, stored: Any) -> Any:
    """8-bit RGB of an image; `stored` is the file as it was opened, which knows its format."""
    if image.mode.startswith("I;16") or (image.mode == "I" and stored.format in ("PNG", "PPM")):
        # Some scanners store 12 bits.
        bits = getattr(stored, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        greys = np.asarray(image) * (255.0 / (2**bits - 1))
    elif image.mode == "F":
        greys = np.asarray(image) * 255.0
        if not ((greys >= 0) & (greys <= 255)).all():
            span = "%g to %g" % (np.min(greys) / 255, np.max(greys) / 255)
            raise PictureError("it holds floats from %s; 0 to 1 is read, or 8 or 16 bits" % span)
    elif image.mode == "I":
        raise PictureError("it holds 32-bit numbers, whose scale is unknown; store it as 8 or 16 bits")
    else:
        return image.convert("RGB")
    return pillow.fromarray(np.rint(greys).astype(np.uint8)).convert("RGB")


def _resample(pixels: "Pixels", axis: int, new: int, start: int, count: int, interpolation: str) -> "Pixels":
    """Positions `start` to `start + count` of an axis resized to `new`, computed as Pillow does."""
    old = pixels.shape[axis]
    scale = old / new
    stretch = max(scale, 1.0)
    reach = stretch * (2.0 if interpolation == "bicubic" else 1.0)
    centres = (np.arange(start, start + count) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(int), 0)
    last = np.minimum((centres + reach + 0.5).astype(int), old)
    taken = first[:, None] + np.arange(np.max(last - first))
    away = np.abs((taken - centres[:, None] + 0.5) * (1.0 / stretch))
    weights = (_bicubic(away) if interpolation == "bicubic" else np.maximum(1.0 - away, 0.0)) * (
        taken < last[:, None]
    )
    weights = weights / weights.cumsum(1)[:, -1:]
    fixed = np.trunc(weights * 2.0**_FIXED_POINT + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    shape = [1, 1, 1]
    shape[axis] = count
    total = np.full(shape, 1 << (_FIXED_POINT - 1), np.int32)
    for tap in range(taken.shape[1]):
        part = pixels.take(np.minimum(taken[:, tap], old - 1), axis=axis).astype(np.int32)
        total = total + part * fixed[:, tap].reshape(shape)
    resized: "Pixels" = np.clip(total >> _FIXED_POINT, 0, 255).astype(np.uint8)
    return resized


def _bicubic(away: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
    near = ((1.5 * away) - 2.5) * away * away + 1.0
    far = (((away - 5.0) * away + 8.0) * away - 4.0) * -0.5
    return np.where(away < 1.0, near, np.where(away < 2.0, far, 0.0))

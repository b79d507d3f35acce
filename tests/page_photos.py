"""Draw the pictures of fruit on which pages of the documentation show commands.

    python -m tests.page_photos photos 40

writes so many pictures of ripe, unripe and spoilt fruit as `photos/CLASS/NUMBER.jpg`. Neighbouring classes
overlap in colour, so that a network makes mistakes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 128
_HUES = {"unripe": (70, 12), "ripe": (28, 12), "spoilt": (8, 10)}
"""Mean and deviation of the fruit's hue (0 to 255 in Pillow's HSV)."""


def fruit(kind: str, noise: np.random.Generator) -> Image.Image:
    """A disc in the colour of a class on a table, with a stalk; spoilt ones have dark spots."""
    mean, deviation = _HUES[kind]
    hue = int(np.clip(noise.normal(mean, deviation), 0, 255))
    table = tuple(int(value) for value in noise.integers((10, 20, 120), (40, 90, 230)))
    picture = Image.new("HSV", (SIDE, SIDE), table)
    draw = ImageDraw.Draw(picture)
    x, y = noise.uniform(0.4 * SIDE, 0.6 * SIDE, 2)
    radius = noise.uniform(0.2, 0.36) * SIDE
    draw.line((x, y - radius, x + noise.normal(0, 8), y - 1.35 * radius), fill=(25, 180, 90), width=5)
    for shrink, value in ((1.0, 150), (0.85, 185), (0.6, 210)):
        size = shrink * radius
        box = (x - size - 3 * (1 - shrink), y - size, x + size, y + size)
        draw.ellipse(box, fill=(hue, 190, value))
    num_spots = int(noise.integers(1, 6)) if kind == "spoilt" else int(noise.random() < 0.2)
    for _ in range(num_spots):
        left, top = x + noise.normal(0, 0.4 * radius), y + noise.normal(0, 0.4 * radius)
        size = noise.uniform(0.08, 0.22) * radius
        draw.ellipse((left - size, top - size, left + size, top + size), fill=(15, 160, 60))
    pixels = np.asarray(picture.convert("RGB").filter(ImageFilter.GaussianBlur(1.2)), dtype=np.float64)
    pixels += noise.normal(0, 10, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write(folder: Path, count: int) -> None:
    """Write the pictures."""
    noise = np.random.default_rng(count)
    for kind in _HUES:
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            fruit(kind, noise).save(folder / kind / f"{number:03}.jpg", quality=90)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))

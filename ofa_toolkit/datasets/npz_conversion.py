"""The line that writes arrays of other names, layouts, types and labels as those that are read."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_SPLITS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
_KINDS = {
    "images": ("images", "image", "imgs", "x", "data", "features"),
    "labels": ("labels", "label", "y", "targets", "target", "classes"),
}


def conversion_line(path: Path, arrays: Mapping[str, Array]) -> str | None:
    """A command that writes the images and labels of an npz file as they are read, into a new file.

    None where it is not known how, or nothing is to be changed.
    """
    names = _roles(list(arrays))
    if names is None:
        return None
    images = [arrays[name] for name in names["images"]]
    labels = [arrays[name] for name in names["labels"]]
    if any(x.shape[:1] != y.shape[:1] or not x.shape for x, y in zip(images, labels, strict=True)):
        return None
    pixels, (classes, numbers) = _pixels(images), _numbers(labels)
    if pixels is None or numbers is None:
        return None
    is_whole = len(names["images"]) == 1
    expected = [f"{split}_{kind}" for kind in _KINDS for split in _SPLITS]
    if not is_whole and [*names["images"], *names["labels"]] == expected and (pixels, numbers) == ("x", "y"):
        return None
    steps = ["import numpy as np", f"a = dict(np.load({json.dumps(str(path))}))", f"f = lambda x: {pixels}"]
    if classes:
        steps.append(f"c = {classes.replace('Y', _read(names['labels'][0]))}")
    steps.append(f"g = lambda y: {numbers}")
    (x, *tests), (y, *test_labels) = names["images"], names["labels"]
    if is_whole:
        steps.append(f"i = np.random.default_rng(0).permutation(len({_read(x)})); k = len(i) // 5")
        parts = {
            f"{split}_{kind}": f"{function}({_read(name)})[i[{rows}]]"
            for kind, function, name in (("images", "f", x), ("labels", "g", y))
            for split, rows in (("train", "k:"), ("test", ":k"))
        }
    else:
        parts = {
            "train_images": f"f({_read(x)})",
            "test_images": f"f({_read(tests[0])})",
            "train_labels": f"g({_read(y)})",
            "test_labels": f"g({_read(test_labels[0])})",
        }
    if classes:
        parts["class_names"] = "c.astype(str)"
    elif "class_names" in arrays:
        parts["class_names"] = _read("class_names")
    stored = ", ".join(f"{name}={value}" for name, value in parts.items())
    target = json.dumps(str(path.with_name(f"{path.stem}-rgb.npz")))
    steps.append(f"np.savez_compressed({target}, {stored})")
    return f"python -c {shlex.quote('; '.join(steps))}"


def _read(name: str) -> str:
    return f"a[{json.dumps(name)}]"


def _roles(names: Sequence[str]) -> dict[str, list[str]] | None:
    """Arrays of images and of labels: for training and testing, or one of all."""
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    words = {name: [word for word in re.split(r"[\W_]+", name.lower()) if word] for name in names}
    for kind, known in _KINDS.items():
        mine = {name: {*parts} for name, parts in words.items() if {*parts} & {*known}}
        for spellings in _SPLITS.values():
            fits = [name for spelling in spellings for name, parts in mine.items() if spelling in parts]
            found[kind] += fits[:1]
        if not found[kind]:
            found[kind] = [name for name, parts in mine.items() if len(parts) == 1]
    counts = {len(of_kind) for of_kind in found.values()}
    return found if counts in ({1}, {2}) else None


def _pixels(images: Sequence[Array]) -> str | None:
    """Expression that turns images `x` into uint8 (N, S, S, 3)."""
    shape, kind = images[0].shape, images[0].dtype
    if any(each.shape[1:] != shape[1:] or each.dtype != kind or not each.size for each in images):
        return None
    expression, sides = "x", shape[1:3]
    if len(shape) == 4 and shape[3] not in (1, 3, 4) and shape[1] in (1, 3, 4):
        expression, sides, channels = "x.transpose(0, 2, 3, 1)", shape[2:], shape[1]
    else:
        channels = shape[3] if len(shape) == 4 else 1
    if len(shape) not in (3, 4) or channels not in (1, 3, 4) or sides[0] != sides[1]:
        return None
    if channels == 4:
        expression += "[..., :3]"
    values = _values(images, expression)
    if values is None or channels != 1:
        return values
    values = values if values == "x" else f"({values})"
    return f"{values}.reshape(len(x), {sides[0]}, {sides[1]}, 1).repeat(3, 3)"


def _values(images: Sequence[Array], expression: str) -> str | None:
    """Expression that turns values of any known scale into 8 bits."""
    kind = images[0].dtype
    if kind == np.uint8:
        return expression
    if kind.kind not in "biuf":
        return None
    least, most = min(float(each.min()) for each in images), max(float(each.max()) for each in images)
    if kind.kind == "b":
        expression = f"255 * {expression}"
    elif kind.kind == "f" and 0 <= least <= most <= 1:
        expression = f"np.rint(255 * {expression})"
    elif kind.kind == "f" and -1 <= least < 0 < most <= 1:
        expression = f"np.rint(127.5 * ({expression} + 1))"
    elif 0 <= least <= most <= 255 and most > 1:
        expression = f"np.rint({expression})"
    elif kind.kind == "u" and kind.itemsize == 2:
        expression = f"{expression} // 257"
    else:
        return None
    return f"({expression}).astype(np.uint8)"


def _numbers(labels: Sequence[Array]) -> tuple[str, str | None]:
    """Expressions for the classes, where they are not 0, 1, 2, ..., and for the numbers of labels `y`."""
    read: Sequence[Array]
    if all(each.ndim == 2 and each.shape[1] > 1 for each in labels):
        if any((each.sum(1) != 1).any() or (each.max(1) != 1).any() for each in labels):
            return "", None
        expression, read = "y.argmax(1)", [each.argmax(1) for each in labels]
    elif all(each.shape in ((len(each),), (len(each), 1)) for each in labels):
        expression, read = "y", [each.reshape(-1) for each in labels]
    else:
        return "", None
    classes, counts = np.unique(read[0], return_counts=True)
    is_text = classes.dtype.kind in "US"
    if not (is_text or classes.dtype.kind in "biuf") or counts.min() < 2 or len(classes) < 2:
        return "", None
    if any(not np.isin(each, classes).all() for each in read) or (not is_text and classes.min() < 0):
        return "", None
    if not is_text and np.array_equal(classes, np.arange(len(classes))):
        return "", expression if read[0].dtype.kind in "iu" else f"{expression}.astype(np.int64)"
    return f"np.unique({expression.replace('y', 'Y')})", f"np.searchsorted(c, {expression})"

"""Which files in a folder are photos, and of which class and split; which are left out, and why.

Either `DIR/<train>/<class>/*.jpg` beside `DIR/<test>/...` or `DIR/<validation>/...`, in any case and under
their usual names, or `DIR/<class>/*.jpg` alone. What a system or a tool hides is no photo.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from PIL import Image

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.output_folder import is_output
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.datasets.dataset import Indices, LeftOut, Split

SPLIT_FOLDERS: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "holdout"),
}
"""What the folder of a split may be called, in any case, with words such as `set` or `images` around it."""

_FILLERS = r"(set|data|dataset|images?|imgs?|photos?|pictures?|pics?|split|folder|samples?)"

_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}
)
_HIDDEN = frozenset(
    {"__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "thumbs.db", "desktop.ini"}
)
"""What systems and network drives leave behind, beside names that begin with a dot."""


@dataclass(frozen=True)
class Files:
    """Photos of some classes.

    Attributes:
        paths: Files of the images.
        labels: Class of each image.
        left_out: Files among the images that are not read.
    """

    paths: list[Path]
    labels: Indices
    left_out: list[LeftOut]

    def divided(self, kept: Indices, rest: Indices) -> tuple[Files, Files]:
        """Two parts by rows; the first one tells what is left out."""
        return (
            Files([self.paths[row] for row in kept], self.labels[kept], self.left_out),
            Files([self.paths[row] for row in rest], self.labels[rest], []),
        )


HIDDEN = "hidden"
"""Why files are left out that nobody put there."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder is left out because of its name."""
    return name.startswith(".") or name.lower() in _HIDDEN or name == "System Volume Information"


def is_one_line(name: str) -> bool:
    """Whether the name of a class can be written down, as one line of UTF-8."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name)


def unread_reason(path: Path) -> str | None:
    """Why a file is left out because of its ending; None for a photo."""
    ending = path.suffix.lower()
    if ending in _ENDINGS or ending in _readable_endings():
        return None
    if ending in (".heic", ".heif"):
        return f"{ending} (pip install 'ofa-toolkit[heif]' to read them)"
    if ending == ".avif":
        return f"{ending} (pip install -U pillow to read them)"
    return ending or "without an ending"


@functools.cache
def _readable_endings() -> frozenset[str]:
    """Endings that only some installations read."""
    Image.init()
    found = {".avif"} & set(Image.registered_extensions())
    if importlib.util.find_spec("pillow_heif"):
        found |= {".heic", ".heif"}
    return frozenset(found)


def split_folders(root: Path) -> dict[Split, Path]:
    """The folders of the splits, at least `train`; empty where the class folders lie in `root` itself.

    Raises:
        DataError: A split is there twice, or without class folders, or there is none for training.
    """
    inside = _folders(root)
    named: dict[Split, list[str]] = {
        split: [name for name in inside if _split_of(name) == split] for split in SPLIT_FOLDERS
    }
    if not named["train"]:
        named |= _with_common_words(inside)
    others = set(inside).difference(*named.values())
    divided = {split: [name for name in names if _folders(inside[name])] for split, names in named.items()}
    if not named["train"] or (not divided["train"] and others):
        _check_no_split(root, inside, divided, others)
        return {}
    for split, names in named.items():
        if len(names) > 1:
            raise DataError(
                f"'{root}' holds '{names[0]}' and '{names[1]}', both of which name the {split} images.",
                hint="Move one of them out of the data set, or into the other.",
            )
    folders = {split: inside[names[0]] for split, names in named.items() if names}
    for split, folder in folders.items():
        if not divided[split]:
            raise unsorted(folder, folders["train"] if divided["train"] and split != "train" else None)
    return folders


def _split_of(name: str) -> Split | None:
    """The split that a folder's name alone stands for: `Train`, `valid`, `test_set`, `TrainingImages`."""
    words = _words(name)
    return next(
        (split for split, names in SPLIT_FOLDERS.items() if len(words) == 1 and words[0] in names), None
    )


def _with_common_words(inside: Mapping[str, Path]) -> dict[Split, list[str]]:
    """Folders such as `seg_train` and `seg_test`: alike but for a split, with the same classes inside."""
    alike: defaultdict[tuple[str, ...], dict[Split, list[str]]] = defaultdict(dict)
    for name in inside:
        words = _words(name)
        for split, names in SPLIT_FOLDERS.items():
            rest = tuple(word for word in words if word not in names)
            if len(rest) == len(words) - 1:
                alike[rest].setdefault(split, []).append(name)
    for found in alike.values():
        classes = {split: {*_folders(inside[names[0]])} for split, names in found.items()}
        if len(found) > 1 and all(classes.get("train", set()) & others for others in classes.values()):
            return found
    return {}


def _words(name: str) -> list[str]:
    """The words of a name that say something, such as `train` of `01_Train2017_images`."""
    apart = re.sub("(?<=[a-z])(?=[A-Z][a-z])", " ", name)
    words = [re.sub(f"{_FILLERS}$", "", word) for word in re.findall(r"[^\W\d_]+", apart.lower())]
    return [word for word in words if word]


def _check_no_split(
    root: Path, inside: Mapping[str, Path], divided: Mapping[Split, list[str]], others: set[str]
) -> None:
    """Refuse a test or validation folder without one for training; a class may be called `valid`."""
    for split, names in divided.items():
        for name in names:
            if not others or others & set(_folders(inside[name])):
                raise DataError(
                    f"'{root}' holds {split} images in '{name}' but no folder of training images.",
                    hint=f"Put those into '{root / 'train'}', one folder a class.",
                )


def class_folders(root: Path) -> dict[str, Path]:
    """Class folders by name, in alphabetical order; names in Unicode's composed form.

    Raises:
        DataError: A name cannot be written down, or stands for two folders.
    """
    folders: dict[str, Path] = {}
    for name, path in _folders(root).items():
        label = unicodedata.normalize("NFC", name)
        if not is_one_line(label):
            raise DataError(
                f"The name of the class folder {_quoted(path)} is not one line of UTF-8 text.",
                hint=f"mv {_quoted(path)} {shlex.quote(str(root / 'NEW_NAME'))}",
            )
        if label in folders:
            raise DataError(f"'{root}' holds two folders called '{label}', in two spellings of Unicode.")
        folders[label] = path
    return dict(sorted(folders.items()))


def check_not_inside_out(root: Path, classes: Mapping[str, Path]) -> None:
    """Refuse splits inside the class folders: mixed into one class, test images would be trained on."""
    for name, folder in classes.items():
        splits = {split: path.name for path in _folders(folder).values() if (split := _split_of(path.name))}
        if "train" in splits and len(splits) > 1:
            inner = [splits["train"], *(place for split, place in splits.items() if split != "train")]
            globs = " ".join(f"*/{shlex.quote(place)}" for place in inner)
            raise DataError(
                f"'{root}' holds class folders with split folders inside, such as '{name}/{inner[0]}' and "
                f"'{name}/{inner[1]}'; the class folders belong inside the split folders.",
                hint=f"(cd {shlex.quote(str(root))} && for each in {globs}; do "
                'mkdir -p "${each##*/}" && mv "$each" "${each##*/}/${each%/*}"; done)',
            )


def check_enough_classes(root: Path, num_classes: int, *, is_split: bool) -> None:
    """Refuse less than two class folders, and say what is probably meant.

    Args:
        root: Folder that holds them.
        num_classes: Number of classes.
        is_split: Whether `root` is the folder of a split, not a whole data set.
    """
    if num_classes >= 2:
        return
    inside = _folders(root)
    name, inner = next(iter(inside.items()), ("", root))
    if len(inside) == 1 and _folders(inner):
        up = f"mv {shlex.quote(str(inner))}/* {shlex.quote(str(root))}/"
        raise DataError(
            f"'{root}' holds one folder, '{name}', and the class folders lie in that.",
            hint=up if is_split else f"Name that one: imagefolder:{inner}",
        )
    if not inside:
        raise unsorted(root, None)
    raise DataError(
        f"'{root}' holds one class folder, '{name}'; at least two are needed.",
        hint=f"Put photos of another class into a folder beside it, such as '{root / 'other'}'.",
    )


def unsorted(folder: Path, train: Path | None) -> DataError:
    """The error about a folder without class folders; `train` may be used alone where it is not None."""
    count = len(list_photos(folder, []))
    message = f"'{folder}' holds {counted(count, 'photo')} and no class folders"
    hint = f"Sort them into folders first, one a class: {folder / 'CLASS'}"
    if train is not None:
        message += " (as ImageNet's validation archive comes)"
        hint += f". Without them, a part of the others is held out: --data imagefolder:{train}"
    return DataError(f"{message}.", hint=hint)


def list_photos(folder: Path, left_out: list[LeftOut]) -> list[Path]:
    """All photos below a folder, in a fixed order; files that are none are added to `left_out`.

    Raises:
        DataError: A folder cannot be read.
    """
    photos = []
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        for name in list(folders):
            path = Path(parent, name)
            if is_hidden(name) or path.is_symlink():
                folders.remove(name)
                left_out.append(LeftOut(path, HIDDEN if is_hidden(name) else "linked folders"))
        for name in files:
            path = Path(parent, name)
            reason = HIDDEN if is_hidden(name) else unread_reason(path)
            if reason is None and not path.is_file():
                reason = "links to nothing"
            if reason is None:
                photos.append(path)
            else:
                left_out.append(LeftOut(path, reason))
    return sorted(photos)


def beside(root: Path, used: Iterable[Path]) -> list[LeftOut]:
    """The photos and folders in `root` that belong to nothing that is read."""
    paths = sorted(set(root.iterdir()).difference(used))
    return [
        LeftOut(path, "beside the folders that are read")
        for path in paths
        if not is_hidden(path.name)
        and (not is_output(path) if path.is_dir() else unread_reason(path) is None)
    ]


def _folders(root: Path) -> dict[str, Path]:
    """The folders in one by name, without hidden ones and our own output among the photos."""
    return {
        path.name: path
        for path in sorted(root.iterdir())
        if path.is_dir() and not is_hidden(path.name) and not is_output(path)
    }


def _quoted(path: Path) -> str:
    """A path as a shell reads it, in ASCII."""
    # With a double quote inside, Python writes bytes in single quotes, as a shell wants them.
    return "$" + repr(os.fsencode(path) + b'"')[1:-2] + "'"


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"'{error.filename}' cannot be read: {error.strerror}.") from error

"""ImageNet and ImageNet-100: which class folders they have.

ImageNet-100 is the subset of Tian et al. 2020 (Contrastive Multiview Coding), which DϵpS uses; its class
list ships with the recipes.
"""

from __future__ import annotations

from pathlib import Path

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import DataError
from ofa_toolkit.datasets.folders import class_folders, split_folders

IMAGENET_CLASSES = 1000
IMAGENET100_LIST = "imagenet100_classes.txt"


def expected_classes(kind: str, folder: Path, class_list: Path | None) -> list[str] | None:
    """Class folders in label order, or None where they are those found (`imagefolder`).

    Args:
        kind: `imagefolder`, `imagenet` or `imagenet100`.
        folder: The data set's folder.
        class_list: For `imagenet100`: a text file, one folder name a line; the published list where None.

    Raises:
        DataError: The folder or the list does not hold what it should.
    """
    if kind == "imagefolder":
        return None
    divided = split_folders(folder) if folder.is_dir() else {}
    if not {"train", "validation"} <= divided.keys():
        raise DataError(
            f"'{folder}' holds no ImageNet: it needs train and val, one folder a class in each.",
            hint="ImageNet has to be downloaded by hand from image-net.org.",
        )
    if kind == "imagenet":
        names = list(class_folders(divided["train"]))
        if len(names) != IMAGENET_CLASSES:
            raise DataError(
                f"'{divided['train']}' holds {len(names)} class folders; ImageNet has {IMAGENET_CLASSES}.",
                hint=f"For other images: imagefolder:{folder}",
            )
        return names
    path = class_list or resources.data_path("configs") / IMAGENET100_LIST
    try:
        names = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise DataError(f"The class list '{path}' cannot be read: {error.strerror}.") from error
    if not names or len(set(names)) != len(names):
        raise DataError(f"The class list '{path}' is empty or names a class twice.")
    return sorted(names)

"""What ImageNet's classes are called, beside the names of their folders."""

from __future__ import annotations

import functools

from ofa_toolkit.core import resources

_LIST = "imagenet_classes.txt"


@functools.cache
def imagenet_titles() -> dict[str, str]:
    """The titles of the 1,000 classes by the names of their folders, in label order."""
    lines = (resources.data_path("configs") / _LIST).read_text(encoding="utf-8").splitlines()
    return {folder: title for folder, _, title in (line.partition(" ") for line in lines)}

"""How a data set is opened: one value that every kind of data set reads what it needs from."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from ofa_toolkit.datasets.transforms import Preprocessing, TransformConfig


@dataclass(frozen=True)
class DataRequest:
    """A data set, and how its images are divided and prepared."""

    source: str
    "Images as `kind:place`, such as `imagefolder:DIR`; the kinds are those of `SOURCES`."
    _: KW_ONLY
    validation_size: int | None = None
    """Images held out of train where there are no others for validation; a tenth, at most 10,000, where None.
    Each class gets one at least."""
    test_size: int | None = None
    "Images set aside as test set, where there is none; a fifth where None."
    seed: int = 0
    "Seed of the draw of the held-out splits."
    download: bool = False
    "Fetch the files where torchvision can."
    transforms: TransformConfig = field(default_factory=TransformConfig)
    "Augmentation of training images."
    preprocessing: Preprocessing | None = None
    """How a trained network wants its images; the data set's own where None. A network must be judged on
    images prepared as those it was trained on."""
    resolution: int | None = None
    "Side of the network input in pixels; the preprocessing's where None."
    num_workers: int = 0
    "Processes that load photos; 0 loads them in this one. In-memory sets need none."
    class_list: Path | None = None
    "For `imagenet100`: a text file of folder names, one a line; the published list where None."
    convert: bool = False
    "For `npz`: also take grey images, (N, S, S) or (N, S, S, 1), and floats from 0 to 1."

    @property
    def kind(self) -> str:
        """The word before the colon."""
        return self.source.partition(":")[0]

    @property
    def place(self) -> str:
        """What follows the colon, as it was written."""
        return self.source.partition(":")[2]

    @property
    def path(self) -> Path:
        """The place as a file or folder, `~` resolved."""
        return Path(os.path.expanduser(self.place))

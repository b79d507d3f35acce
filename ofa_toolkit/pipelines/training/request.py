"""What a user asks of a training run: parameters in Python, options of `ofa-tk train` and `finetune`."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from ofa_toolkit.core import quantities
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.requests import Flag, Option, Positive, Seed

_Device = Annotated[str | None, Option(metavar="NAME")]
_Settings = Annotated[tuple[str, ...], Option(name="--set", metavar="NAME=VALUE", is_repeatable=True)]
_Threads = Annotated[int | None, Bounds(at_least=1), Option()]


@dataclass(frozen=True)
class TrainRequest:
    """What to train, on which images, and where the run goes."""

    recipe: Annotated[str | None, Option(metavar="NAME|FILE")] = None
    "A named recipe or a TOML file."
    _: KW_ONLY
    data: Annotated[str | None, Option(metavar="SOURCE")] = None
    "Images, such as imagefolder:DIR, npz:FILE, cifar10:DIR."
    out: Annotated[str | os.PathLike[str] | None, Option(metavar="DIR", path="folder")] = None
    "Run folder to write."
    epochs: Annotated[int | None, Bounds(at_least=1), Option()] = None
    "Scale the whole run to this many epochs; with --resume, lengthen it."
    init: Annotated[str | None, Option(metavar="SOURCE")] = None
    """Start from these weights: a zoo name, a run or supernet folder, torchvision:NAME, timm:NAME, or a state
    dictionary's file."""
    teacher: Annotated[str | None, Option(metavar="NAME|DIR")] = None
    "Learn from what this supernet's largest network predicts, in place of labels."
    unlabelled: Annotated[str | os.PathLike[str] | None, Option(metavar="DIR", path="folder")] = None
    "Photos without labels: networks also learn what others predict for them."
    time: Annotated[str | float | None, Option(metavar="TIME", quantity=quantities.DURATION)] = None
    "Fit resolution, batch size and epochs to the images and to this time, such as 20min, or in seconds."
    space: Annotated[str | None, Option(metavar="NAME|FILE.toml")] = None
    "Train this space (all of it), not the recipe's; a supernet's folder gives its own."
    download: Flag = False
    "Fetch the data set where torchvision can."
    device: _Device = None
    "cpu, cuda or cuda:N. Default: a GPU where there is one."
    threads: _Threads = None
    "CPU threads of torch. Default: all cores."
    seed: Annotated[int | None, Bounds(at_least=0), Option()] = None
    "Start of all random streams."
    price_per_hour: Annotated[float | None, Bounds(at_least=0), Option()] = None
    "Of one device, to print what the run costs."
    settings: _Settings = ()
    "Change one setting by its dotted name, such as training.batch_size=64."

    @property
    def overrides(self) -> tuple[str, ...]:
        """The changed settings, those with a field of their own included."""
        further = {"teacher": self.teacher, "data.unlabelled": self.unlabelled}
        chosen = [
            *self.settings,
            *(f"{name}={value}" for name, value in further.items() if value is not None),
        ]
        if self.time is not None:
            seconds = quantities.DURATION.parse(self.time) if isinstance(self.time, str) else self.time
            chosen.append(f"minutes={seconds / 60}")
        return tuple(chosen)


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest:
    """Which subnet to train further, on which images, and where the run goes."""

    subnet: Annotated[Path | None, Option(metavar="FILE")] = None
    """The subnet; `ofa-tk search` writes it. Default: subnet.json, or the only network of --supernet."""
    supernet: Annotated[str | None, Option(metavar="NAME|DIR")] = None
    "Supernet whose weights are used. Default: the one that the file of the subnet names."
    data: Annotated[str, Option(metavar="SOURCE")]
    "Images, such as imagefolder:DIR."
    out: Annotated[Path, Option(metavar="DIR", path="folder")]
    "Run folder to write."
    resolution: Annotated[int | None, Bounds(at_least=1, at_most=4096), Option(metavar="PIXELS")] = None
    "Input size. Default: what the file says, or the largest of --supernet's only network."
    epochs: Positive = 30
    "Passes over the images."
    device: _Device = None
    "cpu, cuda or cuda:N. Default: a GPU where there is one."
    threads: _Threads = None
    "CPU threads of torch. Default: all cores."
    seed: Seed = 0
    "Start of all random streams."
    settings: _Settings = ()
    "Change one setting by its dotted name."

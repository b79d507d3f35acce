"""Measure the accuracy of a supernet's subnets on images: named ones, extremes, random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.core.errors import MismatchError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets import ImageDataset, Split, TransformConfig, open_dataset
from ofa_toolkit.evaluation.accuracy import RECALIBRATION_IMAGES, Accuracy, evaluate_subnet
from ofa_toolkit.spaces import SearchSpace, Subnet, lower, sample_subnets
from ofa_toolkit.spaces.subnet_file import read_subnet, subnet_document
from ofa_toolkit.spaces.supernet_description import trained_space_of
from ofa_toolkit.supernets import Supernet, load_supernet
from ofa_toolkit.zoo import resolve_supernet

Step = Callable[[int, int], None]
"""Told how many of how many subnets are done."""


@dataclass(frozen=True, kw_only=True)
class SubnetResult:
    """One judged subnet.

    Attributes:
        name: `largest`, `smallest`, `random 1`, or its file.
        resolution: Side of the input in pixels.
        macs: Multiply-accumulates of one image.
        params: Parameters.
        accuracy: On the split.
        architecture: As in `subnet.json`.
    """

    name: str
    resolution: int
    macs: int
    params: int
    accuracy: Accuracy
    architecture: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Accuracies of some subnets of one supernet.

    Attributes:
        supernet: As the user named it.
        data: Likewise.
        split: Which images were judged.
        results: In the order judged.
    """

    supernet: str
    data: str
    split: Split
    results: tuple[SubnetResult, ...]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A supernet and the images it is judged on.

    Attributes:
        supernet: With its weights, on `device`.
        description: Its `config.json`.
        dataset: Prepared as the supernet's training images were.
        device: Where to compute.
        batch_size: Images of a forward pass.
        limit: Judge on this many images of a split; all where None.
        recalibration_images: Training images for batch-norm statistics.
    """

    supernet: Supernet
    description: dict[str, Any]
    dataset: ImageDataset
    device: torch.device
    batch_size: int = 200
    limit: int | None = None
    recalibration_images: int = RECALIBRATION_IMAGES

    @property
    def trained_space(self) -> SearchSpace:
        """The part of the supernet's space that was trained, as its description says; else all of it."""
        return trained_space_of(self.description, self.supernet.space.name)

    def accuracy(self, subnet: Subnet, split: Split) -> Accuracy:
        """Judge one subnet on a split, batch norm recalibrated."""
        return evaluate_subnet(
            self.supernet,
            subnet,
            self.dataset,
            split=split,
            batch_size=self.batch_size,
            limit=self.limit,
            recalibration_images=self.recalibration_images,
            device=self.device,
        )


def open_judge(
    supernet: str,
    data: str,
    *,
    validation_size: int | None = None,
    batch_size: int = 200,
    limit: int | None = None,
    recalibration_images: int = RECALIBRATION_IMAGES,
    device: str | None = None,
    download: bool = False,
    num_workers: int = 0,
) -> Judge:
    """Load a supernet and the images to judge it on.

    The held-out split is made as in the supernet's training (size and seed from its recipe), so that no
    training image is among the held-out ones.

    Raises:
        OfaToolkitError: One of them is missing or damaged, or they do not belong together.
    """
    network, description = load_supernet(resolve_supernet(supernet))
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    recipe = description.get("recipe")
    stored = recipe.get("data", {}) if isinstance(recipe, dict) else {}
    transforms = stored.get("transforms", {})
    dataset = open_dataset(
        data,
        validation_size=validation_size or stored.get("validation_size"),
        seed=stored.get("split_seed", 0),
        preprocessing=description.get("preprocessing"),
        transforms=TransformConfig(**transforms),
        resolution=max(network.space.resolutions),
        download=download,
        num_workers=num_workers,
    )
    if dataset.num_classes != network.space.num_classes:
        raise MismatchError(
            f"'{supernet}' has {network.space.num_classes} classes, {dataset.name} {dataset.num_classes}.",
            hint=f"Train it on yours: ofa-tk train --init {supernet} --data {data} ...",
        )
    names = description.get("class_names")
    if (
        names is not None
        and list(names) != list(dataset.class_names)
        and not _are_numbers(dataset.class_names)
    ):
        raise MismatchError(
            f"'{supernet}' was trained on the classes {_short(names)}; "
            f"{dataset.name} has {_short(dataset.class_names)}.",
            hint=f"Train it on yours: ofa-tk train --init {supernet} --data {data} ...",
        )
    return Judge(
        supernet=network.to(place),
        description=description,
        dataset=dataset,
        device=place,
        batch_size=batch_size,
        limit=limit,
        recalibration_images=recalibration_images,
    )


def evaluate(
    judge: Judge,
    *,
    supernet: str,
    data: str,
    split: Split = "test",
    subnets: Sequence[Path] = (),
    num_random: int = 3,
    seed: int = 0,
    on_step: Step | None = None,
) -> Evaluation:
    """Judge given subnets; the largest, the smallest and random ones where none are given.

    Raises:
        FileFormatError: A subnet file cannot be read.
        SubnetNotInSpaceError: A subnet is not in the space.
        MismatchError: A subnet belongs to another space.
    """
    space = judge.supernet.space
    chosen: list[tuple[str, Subnet]] = [(str(path), read_subnet(path, space).subnet) for path in subnets]
    if not chosen:
        trained = judge.trained_space
        chosen = [("largest", trained.largest()), ("smallest", trained.smallest())]
        drawn = sample_subnets(trained, num_random, generator(seed, "evaluate"))
        chosen += [(f"random {number}", subnet) for number, subnet in enumerate(drawn, start=1)]
    results = []
    for number, (name, subnet) in enumerate(chosen):
        if on_step is not None:
            on_step(number, len(chosen))
        results.append(describe(name, subnet, space, judge.accuracy(subnet, split)))
    return Evaluation(supernet=supernet, data=data, split=split, results=tuple(results))


def describe(name: str, subnet: Subnet, space: SearchSpace, accuracy: Accuracy) -> SubnetResult:
    """A result with the subnet's costs."""
    layers = lower(space, subnet)
    return SubnetResult(
        name=name,
        resolution=subnet.resolution,
        macs=count_macs(layers),
        params=count_params(layers),
        accuracy=accuracy,
        architecture=subnet_document(subnet),
    )


def _are_numbers(names: Sequence[str]) -> bool:
    return all(name.isdecimal() for name in names)


def _short(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in list(names)[:3])
    return shown + (f", ... ({len(names)})" if len(names) > 3 else "")

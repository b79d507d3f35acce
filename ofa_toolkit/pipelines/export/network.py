"""From a subnet's description to the network that is exported, and back from a passport to the same one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ofa_toolkit.core.errors import DataError, ExportError
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.datasets.dataset import Split
from ofa_toolkit.evaluation.accuracy import RECALIBRATION_SEED, recalibration_batches
from ofa_toolkit.export.comparison import CheckImages
from ofa_toolkit.export.passport import BatchNormSource, QuantisationSource
from ofa_toolkit.export.quantization import CalibrationMethod
from ofa_toolkit.graphs import FoldedWeights
from ofa_toolkit.pipelines.evaluation.evaluate import open_judge
from ofa_toolkit.spaces import SearchSpace, Subnet, lower
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.supernet_description import read_supernet_config, space_of
from ofa_toolkit.supernets import (
    Supernet,
    extract,
    fold_batchnorm,
    load_supernet,
    recalibrate_batchnorm,
)
from ofa_toolkit.supernets.batchnorm import carried_statistics
from ofa_toolkit.supernets.batchnorm.carried_statistics import read_carried_statistics
from ofa_toolkit.supernets.folder import WEIGHTS_FILE
from ofa_toolkit.zoo import resolve_supernet
from ofa_toolkit.zoo.identity import identify

CARRIED_IMAGES = carried_statistics.FILE
"""What a supernet's folder may carry for batch-norm statistics; see `read_carried_statistics`."""

CALIBRATION_IMAGES = 512

_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class OpenSupernet:
    """A supernet ready to be cut, and the images that go with it.

    Attributes:
        name: As the user gave it.
        folder: Where it lies.
        supernet: In evaluation mode.
        description: Its `config.json`.
        data: The data source, or None.
        dataset: The opened source, prepared as the training images were.
    """

    name: str
    folder: Path
    supernet: Supernet
    description: dict[str, Any]
    data: str | None = None
    dataset: ImageDataset | None = None

    @property
    def space(self) -> SearchSpace:
        """What it offers."""
        return self.supernet.space

    @property
    def identity(self) -> str:
        """SHA-256 of its weights file."""
        digest = identify(self.folder / WEIGHTS_FILE).sha256
        assert digest is not None
        return digest


@dataclass(frozen=True, kw_only=True)
class ExportNetwork:
    """What is exported.

    Attributes:
        subnet: The subnet.
        layers: Its layers.
        network: The plain network with its own batch-norm statistics, in evaluation mode.
        weights: The same, folded.
        batchnorm: Where the statistics come from.
    """

    subnet: Subnet
    layers: tuple[LayerSpec, ...]
    network: nn.Module
    weights: FoldedWeights
    batchnorm: BatchNormSource


def open_supernet(name: str, data: str | None) -> OpenSupernet:
    """Load a supernet, and open the images to use with it.

    Raises:
        OfaToolkitError: One of them is missing or damaged, or they do not belong together.
    """
    folder = resolve_supernet(name)
    if data is None:
        supernet, description = load_supernet(folder)
        return OpenSupernet(name=name, folder=folder, supernet=supernet, description=description)
    judge = open_judge(name, data, device="cpu")
    return OpenSupernet(
        name=name,
        folder=folder,
        supernet=judge.supernet,
        description=judge.description,
        data=data,
        dataset=judge.dataset,
    )


def supernet_space(name: str) -> SearchSpace:
    """The space of a supernet, with the resolutions and classes it was trained for; loads no weights.

    Raises:
        OfaToolkitError: The supernet is missing or damaged.
    """
    folder = resolve_supernet(name)
    return space_of(read_supernet_config(folder), folder)


def export_network(source: OpenSupernet, subnet: Subnet, *, keep_batchnorm: bool = False) -> ExportNetwork:
    """Cut a subnet out and give it batch-norm statistics of its own.

    They come from training images of the data source, as everywhere in this toolkit; without one from the
    images the supernet's folder carries; and are kept as they are only where that is asked for.

    Args:
        source: The supernet.
        subnet: A member of its space.
        keep_batchnorm: Keep the statistics of the supernet, which fit none of its subnets well.

    Raises:
        SubnetNotInSpaceError: The subnet is not in the space.
        ExportError: There are no images for the statistics.
    """
    network = extract(source.supernet, subnet)
    batchnorm = BatchNormSource(kind="stored", images="none", num_images=0, seed=0)
    if not keep_batchnorm:
        batchnorm = _recalibrate(network, source, subnet.resolution)
    network.eval()
    return ExportNetwork(
        subnet=subnet,
        layers=lower(source.space, subnet),
        network=network,
        weights=fold_batchnorm(network),
        batchnorm=batchnorm,
    )


def _recalibrate(network: nn.Module, source: OpenSupernet, resolution: int) -> BatchNormSource:
    if source.dataset is not None:
        assert source.data is not None
        batches = recalibration_batches(source.dataset, resolution, batch_size=_BATCH)
        used = recalibrate_batchnorm(network, batches)
        return BatchNormSource(kind="data", images=source.data, num_images=used, seed=RECALIBRATION_SEED)
    carried = read_carried_statistics(source.folder, source.description)
    if carried is None:
        raise ExportError(
            f"Nothing to recompute batch-norm statistics from: '{source.name}' carries no images.",
            hint="Give training images with --data SOURCE, or keep the supernet's statistics, which fit none "
            "of its subnets well, with --keep-batchnorm.",
        )
    used = carried.recalibrate(network, resolution)
    return BatchNormSource(kind="carried", images=CARRIED_IMAGES, num_images=used, seed=0)


def check_images(dataset: ImageDataset, data: str, resolution: int, limit: int) -> CheckImages:
    """Images of a data source that the weights were not trained on, for comparing outputs."""
    split: Split = "validation" if dataset.num_images("validation") else "test"
    count = min(limit, dataset.num_images(split))

    def batches() -> Iterator[tuple[Any, Any]]:
        for images, labels in dataset.batches(split, _BATCH, resolution=resolution, limit=limit):
            yield images.numpy(), labels.numpy()

    return CheckImages(description=f"{count} {split} images of {data}", batches=batches)


def choose_calibration(
    dataset: ImageDataset, data: str, batch_size: int, method: CalibrationMethod
) -> QuantisationSource:
    """Which training images to find 8-bit ranges on: whole batches, at most `CALIBRATION_IMAGES`.

    Raises:
        DataError: There is not one batch of them.
    """
    available = min(max(CALIBRATION_IMAGES, batch_size), dataset.num_images("train"))
    if available < batch_size:
        raise DataError(
            f"int8 needs at least {batch_size} training images, one batch; '{data}' has {available}."
        )
    return QuantisationSource(
        images=data,
        split="train",
        num_images=available // batch_size * batch_size,
        seed=0,
        batch_size=batch_size,
        method=method,
    )


def calibration_batches(
    dataset: ImageDataset, resolution: int, source: QuantisationSource
) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    """The images of a recipe as they are judged, in batches `(N, 3, R, R)` of exactly its size."""
    for images, _ in dataset.batches(
        source.split, source.batch_size, resolution=resolution, limit=source.num_images, seed=source.seed
    ):
        yield images.numpy()

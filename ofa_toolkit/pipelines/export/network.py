"""From a subnet's description to the network that is exported, and back from the metadata to the same one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx, nn

from ofa_toolkit.core.places import portable
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.datasets.dataset import Split
from ofa_toolkit.export.choices import CalibrationMethod
from ofa_toolkit.export.comparison import CheckImages
from ofa_toolkit.export.metadata import QuantisationSource
from ofa_toolkit.graphs import FoldedWeights
from ofa_toolkit.spaces import Subnet, lower
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.supernets import backbone, fold_batchnorm
from ofa_toolkit.supernets.backbone import without_head
from ofa_toolkit.supernets.batchnorm.source import BatchNormSource
from ofa_toolkit.zoo.extraction import origin_of
from ofa_toolkit.zoo.supernet import LoadedSupernet

CALIBRATION_IMAGES = 512
_CALIBRATION_BATCH = 32

_BATCH = 128
_STEP = 128  # images between two words on progress


@dataclass(frozen=True, kw_only=True)
class ExportNetwork:
    """What is exported.

    Attributes:
        subnet: The subnet.
        layers: Layers of the network.
        network: The plain network with its own batch-norm statistics, in evaluation mode.
        weights: The same, folded.
        batchnorm: Source of the batch-norm statistics.
    """

    subnet: Subnet
    layers: tuple[LayerSpec, ...]
    network: nn.Module
    weights: FoldedWeights
    batchnorm: BatchNormSource


def export_network(
    supernet: LoadedSupernet, subnet: Subnet, dataset: ImageDataset | None, *, keep_batchnorm: bool = False
) -> ExportNetwork:
    """Cut a subnet out and give it batch-norm statistics of its own.

    They come from training images of the data set, as everywhere in this toolkit; without one from the
    images the supernet's folder carries; and are kept as they are only where that is asked for.

    Args:
        supernet: The supernet that it is cut out of.
        subnet: A member of its space.
        dataset: Images for the statistics.
        keep_batchnorm: Keep the statistics of the supernet, which fit none of its subnets well.

    Raises:
        SubnetNotInSpaceError: The subnet is not in the space.
        ExportError: There are no images for the statistics.
    """
    network = supernet.extract(subnet, data=dataset, keep_batchnorm=keep_batchnorm)
    origin = origin_of(network)
    assert origin is not None
    return ExportNetwork(
        subnet=subnet,
        layers=lower(supernet.space, subnet),
        network=network,
        weights=fold_batchnorm(network),
        batchnorm=origin.batchnorm,
    )


def without_classifier(whole: ExportNetwork) -> ExportNetwork:
    """The part of a network that gives its maps, see `backbone`.

    Raises:
        ConfigError: It has no maps of the usual strides.
    """
    assert isinstance(whole.network, fx.GraphModule)
    body = backbone(whole.network, whole.layers)
    return dataclasses.replace(
        whole, layers=without_head(whole.layers), network=body, weights=fold_batchnorm(body)
    )


def check_images(dataset: ImageDataset, resolution: int, limit: int) -> CheckImages:
    """Images of a data source that the weights were not trained on, for comparing outputs."""
    split: Split = "validation" if dataset.num_images("validation") else "test"
    count = min(limit, dataset.num_images(split))

    def batches() -> Iterator[tuple[Any, Any]]:
        for images, labels in dataset.batches(split, _BATCH, resolution=resolution, limit=limit):
            yield images.numpy(), labels.numpy()

    return CheckImages(description=f"{count} {split} images of {portable(dataset.source)}", batches=batches)


def choose_calibration(dataset: ImageDataset, method: CalibrationMethod) -> QuantisationSource:
    """Which training images to find 8-bit ranges on: at most `CALIBRATION_IMAGES`."""
    return QuantisationSource(
        images=portable(dataset.source),
        split="train",
        num_images=min(CALIBRATION_IMAGES, dataset.num_images("train")),
        seed=0,
        method=method,
    )


def calibration_batches(
    dataset: ImageDataset,
    resolution: int,
    source: QuantisationSource,
    reporter: Reporter = SILENT,
) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    """The images of a recipe as they are judged, in batches `(N, 3, R, R)`.

    The reporter is told every now and then how many were asked for.
    """
    given = told = 0
    for images, _ in dataset.batches(
        source.split, _CALIBRATION_BATCH, resolution=resolution, limit=source.num_images, seed=source.seed
    ):
        yield images.numpy()
        given += len(images)
        if given - told >= _STEP or given >= source.num_images:
            told = given
            reporter.message(f"Finding 8-bit ranges: {given} of {source.num_images} images")

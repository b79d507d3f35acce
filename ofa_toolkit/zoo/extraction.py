"""Networks cut out of a loaded supernet; each remembers where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.evaluation.accuracy import RECALIBRATION_SEED, recalibration_batches
from ofa_toolkit.graphs import identify_weights
from ofa_toolkit.spaces.subnet_file import SubnetFile
from ofa_toolkit.spaces.supernet_description import CARRIED_IMAGES
from ofa_toolkit.supernets import extract, fold_batchnorm, recalibrate_batchnorm
from ofa_toolkit.supernets.batchnorm.carried_statistics import CarriedStatistics
from ofa_toolkit.supernets.batchnorm.source import BatchNormSource
from ofa_toolkit.supernets.extracted import ExtractedNetwork
from ofa_toolkit.zoo.supernet import LoadedSupernet

_KEY = "ofa_toolkit_origin"
_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an extracted network comes from.

    Attributes:
        supernet: The supernet that it was cut out of.
        found: The subnet and its predictions.
        batchnorm: Source of its batch-norm statistics at that time.
        weights_identity: SHA-256 of its folded weights then; others mean that it was trained since.
    """

    supernet: LoadedSupernet
    found: SubnetFile
    batchnorm: BatchNormSource
    weights_identity: str

    def is_as_cut_out(self, network: nn.Module) -> bool:
        """Whether the network still has the weights it was cut out with."""
        return identify_weights(fold_batchnorm(network)) == self.weights_identity


def origin_of(network: nn.Module) -> Origin | None:
    """Where a network comes from; None for one that was not cut out of a loaded supernet."""
    meta = getattr(network, "meta", None)
    origin = meta.get(_KEY) if isinstance(meta, dict) else None
    origin = origin or getattr(network, _KEY, None)
    return origin if isinstance(origin, Origin) else None


def extract_subnet(
    supernet: LoadedSupernet,
    found: SubnetFile,
    *,
    data: str | ImageDataset | None = None,
    keep_batchnorm: bool = False,
    can_keep: bool = True,
) -> ExtractedNetwork:
    """As `LoadedSupernet.extract`; where the user cannot choose `keep_batchnorm`, no hint names it."""
    subnet = found.subnet
    network = extract(supernet.network, subnet)
    if keep_batchnorm or supernet.has_statistics_of(subnet):
        source = BatchNormSource(kind="stored", images="none", num_images=0, seed=0)
    elif data is not None:
        dataset = supernet.open_images(data) if isinstance(data, str) else data
        batches = recalibration_batches(dataset, subnet.resolution, batch_size=_BATCH)
        used = recalibrate_batchnorm(network, batches)
        source = BatchNormSource(kind="data", images=dataset.source, num_images=used, seed=RECALIBRATION_SEED)
    else:
        used = _carried(supernet, subnet.resolution, can_keep=can_keep).recalibrate(
            network, subnet.resolution
        )
        source = BatchNormSource(kind="carried", images=CARRIED_IMAGES, num_images=used, seed=0)
    network.eval()
    origin = Origin(
        supernet=supernet,
        found=found,
        batchnorm=source,
        weights_identity=identify_weights(fold_batchnorm(network)),
    )
    # A copy of a graph module keeps `meta` and nothing else, a pickle everything but `meta`.
    network.meta[_KEY] = origin
    setattr(network, _KEY, origin)
    return network


def _carried(supernet: LoadedSupernet, resolution: int, *, can_keep: bool) -> CarriedStatistics:
    """The statistics that a supernet carries, where they say something of an input size (pixels)."""
    carried = supernet.carried_statistics
    lack = "it carries no images" if carried is None else carried.lack(resolution)
    if carried is None or lack is not None:
        raise ExportError(
            f"Nothing to recompute batch-norm statistics of '{supernet.name}' from: {lack}.",
            hint=(
                "Give training images with --data SOURCE, or keep the supernet's statistics, which fit none "
                "of its subnets well, with --keep-batchnorm."
                if can_keep
                else "Give training images with --data SOURCE."
            ),
        )
    return carried

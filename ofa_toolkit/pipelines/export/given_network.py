"""A network given as a module: one cut out of a supernet, as it was then or trained since."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

from torch import nn

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.graphs import identify_weights
from ofa_toolkit.pipelines.export.network import ExportNetwork
from ofa_toolkit.pipelines.export.options import ExportOptions
from ofa_toolkit.spaces import lower
from ofa_toolkit.spaces.subnet_file import SubnetFile
from ofa_toolkit.supernets import extract, fold_batchnorm
from ofa_toolkit.supernets.batchnorm.source import BatchNormSource
from ofa_toolkit.zoo.extraction import Origin, origin_of
from ofa_toolkit.zoo.supernet import LoadedSupernet

EXPORTABLE = "export_onnx takes a found subnet, its file, (supernet, subnet), or a network from extract"


@dataclass(frozen=True, kw_only=True)
class GivenNetwork:
    """What a module is.

    Attributes:
        supernet: The supernet it was cut out of; for one trained since, with the identity of its own weights.
        found: The subnet and its predictions; of one that was trained since, predicted costs only.
        network: The network, where it was trained since; None where it can be cut out again.
        options: With the images and batch-norm statistics it was cut out with.
    """

    supernet: LoadedSupernet
    found: SubnetFile
    network: ExportNetwork | None
    options: ExportOptions


def given_network(module: nn.Module, options: ExportOptions) -> GivenNetwork:
    """Find out what a module is.

    Raises:
        ExportError: It was not cut out of a supernet, or its layers were changed since.
    """
    origin = origin_of(module)
    if origin is None:
        raise ExportError(
            f"A '{type(module).__name__}' not cut out of a supernet cannot be exported: {EXPORTABLE}.",
            hint="torch.onnx.export writes any torch.nn.Module, unchecked.",
        )
    _check_layers(module, origin)
    if not origin.is_as_cut_out(module):
        return _trained_since(module, origin, options)
    statistics = origin.batchnorm
    images = statistics.images if statistics.kind == "data" else None
    if options.data not in (None, images):
        raise ExportError(
            f"The network's batch-norm statistics come from other images than '{options.data}'.",
            hint="Cut it out with them: supernet.extract(subnet, data=...), or export (supernet, subnet).",
        )
    kept = statistics.kind == "stored"
    return GivenNetwork(
        supernet=origin.supernet,
        found=origin.found,
        network=None,
        options=dataclasses.replace(options, data=images, keep_batchnorm=kept),
    )


def _check_layers(module: nn.Module, origin: Origin) -> None:
    """The weights have the names and shapes they were cut out with."""
    cut_out = extract(origin.supernet.network, origin.found.subnet).state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in cut_out.items()}
    found = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if changed := sorted(wanted.items() ^ found.items()):
        name = changed[0][0]
        raise ExportError(
            f"The network's layers were changed since it was cut out: '{name}' is {found.get(name, 'gone')}, "
            f"it was {wanted.get(name, 'not there')}.",
            hint="For other classes train from the supernet: ofa-tk finetune; torch.onnx.export writes any "
            "network, unchecked.",
        )


def _trained_since(module: nn.Module, origin: Origin, options: ExportOptions) -> GivenNetwork:
    subnet, weights = origin.found.subnet, fold_batchnorm(module)
    supernet = origin.supernet.trained_since(identify_weights(weights))
    network = ExportNetwork(
        subnet=subnet,
        layers=lower(supernet.space, subnet),
        network=copy.deepcopy(module).cpu().eval(),
        weights=weights,
        batchnorm=BatchNormSource(kind="own", images="those it was trained on", num_images=0, seed=0),
    )
    found = dataclasses.replace(origin.found, predicted=origin.found.predicted_costs)
    return GivenNetwork(supernet=supernet, found=found, network=network, options=options)

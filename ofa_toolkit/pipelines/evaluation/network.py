"""Accuracy of one network: a subnet, the same fine-tuned by its user, or any other module."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.datasets import ImageDataset, open_dataset
from ofa_toolkit.datasets.report import check_sizes_are_used
from ofa_toolkit.evaluation import accuracy
from ofa_toolkit.pipelines.evaluation.evaluate import SubnetResult, describe
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.spaces.subnet_file import SubnetLike, subnet_document, subnet_file
from ofa_toolkit.supernets.module_counts import count_module
from ofa_toolkit.zoo.extraction import Origin, origin_of
from ofa_toolkit.zoo.supernet import SupernetLike


@dataclass(frozen=True)
class NetworkEvaluationRequest(EvaluationRequest):
    """A network, and the images it is measured on."""

    network: nn.Module | tuple[SupernetLike, SubnetLike]
    "A module from images `(N, 3, R, R)` to logits, or a supernet and one of its subnets."


@with_fields_of(NetworkEvaluationRequest)
def evaluate(request: NetworkEvaluationRequest) -> SubnetResult:
    """Measure the top-1 accuracy of a network in evaluation mode.

    A subnet of a supernet gets batch-norm statistics of its own from training images. A module keeps its own,
    and is left unchanged; one from `LoadedSupernet.extract` gets images prepared as its supernet's were, any
    other one those of the data set's own preprocessing. Its multiply-accumulates are counted by fvcore.

    Raises:
        OfaToolkitError: The images are missing, or do not belong to the network.
    """
    network: Any = request.network
    if isinstance(network, nn.Module):
        return _evaluate_module(network, request)
    if not isinstance(network, tuple) or len(network) != 2:
        raise ConfigError(
            f"evaluate takes a torch.nn.Module, or a supernet and a subnet, not '{type(network).__name__}'.",
            hint='evaluate((supernet, "subnet.json"), data=...)',
        )
    evaluator = open_evaluator(network[0], request)
    subnet = subnet_file(network[1], evaluator.supernet.space).subnet
    return describe("subnet", subnet, evaluator.supernet.space, evaluator.accuracy(subnet))


def _evaluate_module(network: nn.Module, request: NetworkEvaluationRequest) -> SubnetResult:
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    origin = origin_of(network)
    dataset = _open_images(network, origin, request)
    resolution = dataset.resolution if origin is None else origin.found.subnet.resolution
    here = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    device = here if request.device is None else torch.device(request.device)
    placed = network if device == here else copy.deepcopy(network).to(device)
    batches = dataset.batches(
        request.split, request.batch_size, resolution=resolution, limit=request.images, device=device
    )
    counts = count_module(network, resolution)
    return SubnetResult(
        name="network",
        resolution=resolution,
        **dataclasses.asdict(counts),
        accuracy=accuracy.evaluate(placed, batches),
        architecture={} if origin is None else subnet_document(origin.found.subnet),
    )


def _open_images(
    network: nn.Module, origin: Origin | None, request: NetworkEvaluationRequest
) -> ImageDataset:
    if origin is None:
        dataset = open_dataset(
            request.data,
            validation_size=request.validation_size,
            test_size=request.test_size,
            download=request.download,
            num_workers=request.num_workers,
        )
        check_sizes_are_used(dataset, request.validation_size, request.test_size)
        return dataset
    return origin.supernet.open_images(
        request.data,
        validation_size=request.validation_size,
        test_size=request.test_size,
        download=request.download,
        num_workers=request.num_workers,
        # One that was fine-tuned since may have learned other classes.
        has_any_classes=not origin.is_as_cut_out(network),
    )

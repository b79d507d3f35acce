"""Judge distinct named subnets on held-out images during training."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ofa_toolkit.datasets.dataset import ImageDataset
from ofa_toolkit.evaluation.accuracy import Accuracy, evaluate_subnet
from ofa_toolkit.spaces import SearchSpace, Subnet
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.algorithm import Phase
from ofa_toolkit.training.config import ValidationConfig


def named_subnets(config: ValidationConfig, space: SearchSpace) -> dict[str, Subnet]:
    """The further subnets a configuration asks to judge.

    Raises:
        FileFormatError: A file cannot be read.
        SubnetNotInSpaceError: A subnet is not in the space.
    """
    return {name: read_subnet(path, space).subnet for name, path in config.subnets.items()}


def validate(
    supernet: Supernet,
    dataset: ImageDataset,
    phase: Phase,
    named: Mapping[str, Subnet],
    config: ValidationConfig,
    device: torch.device,
    only: Subnet | None = None,
    *,
    recalibrates: bool = True,
) -> dict[str, Accuracy]:
    """Judge the smallest and the largest subnet of the phase and the named ones, each once.

    Unlike the DϵpS reference, which judges each extreme twice in training mode: evaluation mode, dropout
    off, batch norm recalibrated, distinct subnets.

    Args:
        supernet: Left unchanged.
        dataset: Held-out images, and training images for recalibration.
        phase: Whose extremes; only the one that trains alone.
        named: Further subnets.
        config: Number of images, batch size and recalibration.
        device: Device to compute on.
        only: Judge this subnet instead of the extremes.
        recalibrates: Whether batch norm is recalibrated; a single network trains and is used with what it has
            where layers are frozen.
    """
    chosen = {"smallest": phase.space.smallest(), "largest": phase.space.largest()}
    if only is not None:
        chosen = {"subnet": only}
    elif phase.alone is not None:
        chosen = {phase.alone: chosen[phase.alone]}
    chosen |= {} if phase.alone else dict(named)
    results: dict[str, Accuracy] = {}
    judged: dict[Subnet, Accuracy] = {}
    for name, subnet in chosen.items():
        if subnet not in judged:
            judged[subnet] = evaluate_subnet(
                supernet,
                subnet,
                dataset,
                batch_size=config.batch_size,
                limit=config.images,
                recalibration_images=config.recalibration_images if recalibrates else 0,
                device=device,
            )
        results[name] = judged[subnet]
    return results

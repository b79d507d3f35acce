"""The weights a run starts from: random, or another supernet's with a fresh classifier if need be."""

from __future__ import annotations

import torch
from torch import nn

from ofa_toolkit.core.errors import MismatchError
from ofa_toolkit.core.rng import torch_seed
from ofa_toolkit.spaces import SearchSpace, lower
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.config import RunConfig

_CLASSIFIER = "classifier."


def new_supernet(config: RunConfig, space: SearchSpace) -> Supernet:
    """A supernet with random weights, the same for equal seeds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(config.training.seed, "weights"))
        supernet = Supernet(
            space,
            use_kernel_transforms=config.algorithm.use_kernel_transforms,
            dropout=config.training.dropout,
            bn_momentum=config.training.bn_momentum,
        )
    if config.algorithm.use_zero_gamma:
        zero_residual_branches(supernet)
    return supernet


@torch.no_grad()
def zero_residual_branches(supernet: Supernet) -> None:
    """Start every residual block as the identity: the last batch norm's scale of its branch is 0.

    Source: BigNAS (Yu et al. 2020), section 3, "Initialization".
    """
    for layer in lower(supernet.space, supernet.space.largest()):
        if layer.kind == "add":
            norm = supernet.layer(layer.inputs[0]).bn
            assert norm is not None
            nn.init.zeros_(norm.weight)


@torch.no_grad()
def load_initial_weights(
    supernet: Supernet,
    source: Supernet,
    name: str,
    *,
    space_option: str,
    has_same_classes: bool,
    classifier_seed: int,
) -> str:
    """Copy another supernet's weights; the classifier too where both have the same classes.

    Args:
        supernet: Changed in place; keeps its own kernel matrices where the other has none.
        source: The other supernet.
        name: Name of the source in messages.
        space_option: Value of `--space` with which its space is trained.
        has_same_classes: Whether both have the same classes in the same order.
        classifier_seed: Of a fresh classifier; another than that of new weights, by which the other supernet
            may have begun.

    Returns:
        What was loaded and what is fresh, for the log.

    Raises:
        MismatchError: The other supernet is of another space.
    """
    mine, theirs = supernet.space.with_resolutions(()), source.space.with_resolutions(())
    if mine.identity != theirs.identity:
        raise MismatchError(
            f"'{name}' is a supernet of '{source.space.name}'; this run trains '{supernet.space.name}'.",
            hint=f"Train that one: --space {space_option}",
        )
    weights = source.state_dict()
    if not has_same_classes:
        weights = {key: value for key, value in weights.items() if not key.startswith(_CLASSIFIER)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(classifier_seed)
            supernet.layer("classifier").weighted.reset_parameters()
    own = supernet.state_dict()
    fresh = [key for key in own if key not in weights]
    unused = [key for key in weights if key not in own]
    if unused:
        raise MismatchError(
            f"'{name}' has kernel matrices ('{unused[0]}'), which this method does not train.",
            hint="Use --recipe of an ofa method, or weights without them.",
        )
    for key, value in weights.items():
        own[key].copy_(value)
    loaded = f"Loaded {len(weights)} tensors from '{name}'"
    if not fresh:
        return f"{loaded}; nothing is fresh."
    parts = sorted({key.split(".")[0] if key.startswith(_CLASSIFIER) else "kernel matrices" for key in fresh})
    why = f" for {supernet.space.num_classes} classes" if not has_same_classes else ""
    return f"{loaded}; fresh: {', '.join(parts)}{why}."

"""A published network (`net.config` and `init`) as a supernet with a single subnet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ofa_toolkit.core.errors import CheckpointError
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.network_config import Config, layers_from_config
from ofa_toolkit.spaces.single_network import single_network_space
from ofa_toolkit.supernets.importing.official_networks import network_from_config
from ofa_toolkit.supernets.supernet import Supernet


def single_network_supernet(config: Config, weights: Mapping[str, Tensor], resolution: int) -> Supernet:
    """The network as the only subnet of a supernet: what works with supernets works with it.

    Args:
        config: A parsed `net.config`.
        weights: State dictionary of the network, under official names.
        resolution: Side of the network's input in pixels.

    Raises:
        FileFormatError: The file is malformed, or has a layer that no block of ours stands for.
        MismatchError: The weights are another network's.
        CheckpointError: A weight is not finite.
    """
    space = single_network_space(config, resolution)
    network = network_from_config(config, weights=weights, resolution=resolution)
    norm: Any = config.get("bn") or {}
    momentum = norm.get("momentum") if isinstance(norm, Mapping) else None
    supernet = Supernet(space, bn_momentum=momentum if isinstance(momentum, float) and momentum > 0 else 0.1)
    ours = lower(space, space.largest())
    theirs = layers_from_config(config, resolution=resolution)
    # The same layers in the same order: the space was made so.
    prefixes = {f"{their.name}.": f"{own.name}." for their, own in zip(theirs, ours, strict=True)}
    tensors = {}
    for name, tensor in network.state_dict().items():
        prefix, kind, last = name.rsplit(".", 2)
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"The weights of '{name}' are not finite.")
        tensors[f"{prefixes[f'{prefix}.']}{kind}.{last}"] = tensor
    supernet.load_state_dict(tensors)
    return supernet.eval()

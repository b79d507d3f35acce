"""A state dictionary as a supernet of a space, whoever named its layers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.supernets.importing.checkpoint_file import PUBLISHED_ANCHORS
from ofa_toolkit.supernets.importing.official_checkpoints import supernet_from_official
from ofa_toolkit.supernets.importing.published import supernet_from_published
from ofa_toolkit.supernets.supernet import Supernet


def supernet_from_weights(weights: Mapping[str, Tensor], space: SearchSpace, *, source: str) -> Supernet:
    """By `supernet_from_published` for names of published networks, else by `supernet_from_official`."""
    if any(name.startswith(PUBLISHED_ANCHORS) for name in weights):
        return supernet_from_published(weights, space, source=source)
    return supernet_from_official(weights, space, source=source)

"""Layers that keep the weights they start from: `training.freeze`.

Batch norm keeps scale, shift and stored statistics too. While subnets train, frozen layers normalise by each
batch all the same: one set of statistics fits one subnet only, and all are judged with recomputed ones. In a
space of a single network they normalise by what is stored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces import SearchSpace, lower
from ofa_toolkit.supernets import Supernet

Freeze = Literal["none", "body"] | Annotated[int, Bounds(at_least=1)]


def frozen_layers(space: SearchSpace, freeze: Freeze) -> tuple[str, ...]:
    """Names of the layers that keep their weights, in order.

    Args:
        space: The supernet's.
        freeze: `none`; `body`, all but the classifier; or the stem and so many stages.

    Raises:
        ConfigError: The space has fewer stages.
    """
    names = [layer.name for layer in lower(space, space.largest()) if layer.has_weights]
    if freeze == "none":
        return ()
    if freeze == "body":
        return tuple(name for name in names if name != "classifier")
    if freeze > len(space.stages):
        raise ConfigError(
            f"training.freeze: {freeze} is out of range; '{space.name}' has {len(space.stages)} stages, and "
            "'body' freezes all but the classifier."
        )
    last = max(index for index, name in enumerate(names) if name.startswith(f"stages.{freeze - 1}."))
    return tuple(names[: last + 1])


def freeze_layers(supernet: Supernet, names: tuple[str, ...]) -> None:
    """Let training leave some layers of a supernet as they are."""
    for name in names:
        layer = supernet.layer(name).requires_grad_(False)
        if layer.bn is not None:
            layer.bn.keep_statistics(uses_them=supernet.space.has_one_subnet)

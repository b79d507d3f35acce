"""The part of a space that a search may choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ofa_toolkit.core.errors import ConfigError, unknown_name
from ofa_toolkit.pipelines.search.request import SearchRequest
from ofa_toolkit.spaces import SearchSpace, restrict

CHOICES = {
    "resolution": "resolutions",
    "depth": "depths",
    "kernel_size": "kernel_sizes",
    "expand_ratio": "expand_ratios",
}
"""What `fix`, `maximum` and `minimum` may name, and the parameter of `restrict` it stands for."""


def restricted_space(request: SearchRequest, space: SearchSpace, covered: tuple[int, ...]) -> SearchSpace:
    """The trained space within the user's limits on choices, at covered resolutions unless asked.

    Args:
        request: With the limits.
        space: As trained.
        covered: Resolutions that the accuracy predictor covers.

    Raises:
        ConfigError: A limit leaves nothing, or names what the space does not offer.
        UnknownNameError: No such choice.
    """
    given = (request.fix, request.maximum, request.minimum)
    for name in {name for limits in given for name in limits}:
        if name not in CHOICES:
            raise unknown_name("choice", name, CHOICES)
    kept: dict[str, tuple[Any, ...]] = {}
    for name, parameter in CHOICES.items():
        offered = _offered(space, name)
        chosen = _allowed(request, space, name, offered)
        if name == "resolution" and not any(name in limits for limits in given):
            chosen = tuple(value for value in chosen if value in covered)
        if not chosen:
            raise ConfigError(f"No {name} is left of what {space.name} offers: {listed(offered)}.")
        if chosen != offered:
            kept[parameter] = chosen
    if "expand_ratios" in kept and any(stage.compound for stage in space.stages):
        raise ConfigError(
            f"'{space.name}' ties expand ratios to depths.", hint="Limit depth instead of expand_ratio."
        )
    return restrict(space, **kept) if kept else space


def _allowed(
    request: SearchRequest, space: SearchSpace, name: str, offered: tuple[float, ...]
) -> tuple[float, ...]:
    """The offered values within what the user fixed and bounded."""
    fixed = request.fix.get(name, offered)
    wanted = tuple(fixed) if isinstance(fixed, Sequence) else (fixed,)
    unknown = [value for value in wanted if value not in offered]
    if unknown:
        raise ConfigError(f"{name} {unknown[0]:g} is not offered; {space.name} offers {listed(offered)}.")
    low, high = request.minimum.get(name, -np.inf), request.maximum.get(name, np.inf)
    return tuple(value for value in offered if value in wanted and low <= value <= high)


def listed(values: Sequence[float]) -> str:
    """For messages."""
    return ", ".join(f"{value:g}" for value in values)


def _offered(space: SearchSpace, name: str) -> tuple[float, ...]:
    if name == "resolution":
        return space.resolutions
    values: set[float] = set()
    for stage in space.stages:
        values.update(getattr(stage, CHOICES[name]))
    return tuple(sorted(values))

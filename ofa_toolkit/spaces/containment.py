"""Whether every subnet of one space is a subnet of another, so that what was made for the other applies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ofa_toolkit.spaces import SPACES
from ofa_toolkit.spaces.space import SearchSpace, Stage

_CHOICES = ("depths", "kernel_sizes", "expand_ratios")


def is_within(space: SearchSpace, base: SearchSpace) -> bool:
    """Whether `space` is `base`, or `base` with fewer choices (`restrict`, `compound`).

    Name, source and number of classes do not matter, as in `SearchSpace.identity`.
    """
    if len(space.stages) != len(base.stages) or not set(space.resolutions) <= set(base.resolutions):
        return False
    if not all(map(_stage_is_within, space.stages, base.stages)):
        return False
    widened = dataclasses.replace(space, stages=base.stages, resolutions=base.resolutions)
    return widened.identity == base.identity


def belongs_to(
    space: SearchSpace,
    identity: str,
    resolutions: tuple[int, ...] = (),
    *,
    bases: Iterable[SearchSpace] = (),
) -> bool:
    """Whether `space` is the space of that identity, or that space with fewer choices.

    An identity does not tell which space it is of, so only known spaces are recognised in part.

    Args:
        space: The space in question.
        identity: Identity of the space that something was made for.
        resolutions: Input sizes of that space, where they are not the registered ones.
        bases: Known spaces beside the registered ones.
    """
    if space.identity == identity:
        return True
    for base in (*bases, *SPACES.values()):
        for candidate in (base, base.with_resolutions(resolutions)) if resolutions else (base,):
            if candidate.identity == identity and is_within(space, candidate):
                return True
    return False


def _stage_is_within(stage: Stage, base: Stage) -> bool:
    if base.compound is not None and stage.compound != base.compound:
        return False
    if any(not set(getattr(stage, what)) <= set(getattr(base, what)) for what in _CHOICES):
        return False
    choices = {what: getattr(base, what) for what in _CHOICES}
    # Which blocks exist is decided by the depths, and every block's place by the stage: nothing else differs.
    return dataclasses.replace(stage, compound=base.compound, **choices) == base

"""Restrictions of a space: CompOFA's compound coupling, and narrower choice lists.

CompOFA (Sahni et al., ICLR 2021, section 3) ties width to depth: a stage's blocks all take the smallest
expand ratio at the smallest depth, the next at the next, so that five stages of three depths give
3^5 = 243 networks. Its kernel sizes are fixed per stage (3 5 3 3 5), or elastic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TypeVar

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces.space import SearchSpace, Stage

Value = TypeVar("Value", int, float)

COMPOUND_SUFFIX = "-compound"
COMPOUND_ELASTIC_KERNEL_SUFFIX = "-compound-elastic-kernel"
FIXED_KERNEL_SIZES = (3, 5, 3, 3, 5)


def compound(space: SearchSpace, *, elastic_kernel: bool = False) -> SearchSpace:
    """CompOFA's restriction of an MBConv space.

    A stage with a single depth takes its largest expand ratio. Departure: stages beyond the five that
    CompOFA names take the last of its kernel sizes, and a size a stage does not offer becomes the
    nearest one it does.

    Raises:
        ConfigError: The space has other blocks than MBConv, or a stage offers unequal numbers of
            depths and expand ratios.
    """
    if any(stage.block != "mbconv" for stage in space.stages):
        raise ConfigError(f"'{space.name}' has no compound restriction: only MBConv spaces do.")
    suffix = COMPOUND_ELASTIC_KERNEL_SUFFIX if elastic_kernel else COMPOUND_SUFFIX
    stages = []
    for index, stage in enumerate(space.stages):
        kernel_sizes = stage.kernel_sizes
        if not elastic_kernel:
            wanted = FIXED_KERNEL_SIZES[min(index, len(FIXED_KERNEL_SIZES) - 1)]
            kernel_sizes = (min(kernel_sizes, key=lambda k: (abs(k - wanted), k)),)
        pairs = _pair(space.name, index, stage)
        stages.append(
            dataclasses.replace(
                stage,
                compound=pairs,
                kernel_sizes=kernel_sizes,
                expand_ratios=tuple(sorted({ratio for _, ratio in pairs})),
            )
        )
    return dataclasses.replace(space, name=space.name + suffix, stages=tuple(stages))


def _pair(name: str, index: int, stage: Stage) -> tuple[tuple[int, float], ...]:
    if len(stage.depths) == 1:
        return ((stage.depths[0], max(stage.expand_ratios)),)
    if len(stage.depths) != len(stage.expand_ratios):
        raise ConfigError(
            f"'{name}' has no compound restriction: stage {index + 1} offers "
            f"{len(stage.depths)} depths and {len(stage.expand_ratios)} expand ratios."
        )
    return tuple(zip(sorted(stage.depths), sorted(stage.expand_ratios), strict=True))


def restrict(
    space: SearchSpace,
    *,
    depths: Iterable[int] | None = None,
    kernel_sizes: Iterable[int] | None = None,
    expand_ratios: Iterable[float] | None = None,
    resolutions: Iterable[int] | None = None,
) -> SearchSpace:
    """A space with fewer choices; every one of its subnets is a member of `space`.

    A stage keeps the listed values it offers; one that offers a single value keeps it.

    Raises:
        ConfigError: A stage that offers a choice would keep none of its values.
    """

    def keep(what: str, offered: tuple[Value, ...], wanted: Iterable[Value] | None) -> tuple[Value, ...]:
        if wanted is None or len(offered) == 1:
            return offered
        allowed = set(wanted)
        kept = tuple(value for value in offered if value in allowed)
        if not kept:
            has, asked = (", ".join(f"{v:g}" for v in values) for values in (offered, sorted(allowed)))
            raise ConfigError(f"'{space.name}' offers {what} {has}; none of {asked} is among them.")
        return kept

    stages = tuple(
        dataclasses.replace(
            stage,
            depths=keep("depths", stage.depths, depths),
            kernel_sizes=keep("kernel sizes", stage.kernel_sizes, kernel_sizes),
            expand_ratios=keep("expand ratios", stage.expand_ratios, expand_ratios),
        )
        for stage in space.stages
    )
    return dataclasses.replace(
        space,
        stages=stages,
        resolutions=keep("resolutions", space.resolutions, resolutions),
    )

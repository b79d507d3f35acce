"""A subnet is a description: which resolution, depth, kernel sizes, expand ratios and widths."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageChoice:
    """What one stage of a subnet looks like.

    Attributes:
        depth: Number of active blocks; the first `depth` blocks of the stage are kept.
        kernel_sizes: Side of the (depthwise) kernel, one entry per active block.
        expand_ratios: Middle width over block width, one entry per active block.
        width: Output channels where the stage's width is elastic, otherwise None.
    """

    depth: int
    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[float, ...]
    width: int | None = None


@dataclass(frozen=True, slots=True)
class Subnet:
    """One member of a search space.

    Skipped blocks have no entry, so two subnets are equal exactly when their networks are.

    Attributes:
        resolution: Side of the square input image in pixels.
        stages: One choice per stage of the space, first stage first.
    """

    resolution: int
    stages: tuple[StageChoice, ...]

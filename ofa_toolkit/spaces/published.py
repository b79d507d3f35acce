"""Elastic stages around a published network, which stays the largest choice of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ofa_toolkit.spaces.layer_spec import Activation
from ofa_toolkit.spaces.space import Stage

_SMALLER_RATIOS = (2, 3, 4, 6)


@dataclass(frozen=True, kw_only=True)
class PublishedStage:
    """One stage of a published network of MBConv blocks.

    Attributes:
        width: Output channels.
        depth: Blocks.
        kernel_size: Side of every depthwise kernel.
        stride: Stride of the first block.
        ratios: Expand ratio, or those of the blocks where they differ.
        activation: Inside the blocks.
        use_se: Whether the blocks have squeeze-excite.
    """

    width: int
    depth: int
    kernel_size: int
    stride: int
    ratios: float | tuple[float, ...]
    activation: Activation
    use_se: bool = False


def elastic_stages(published: Iterable[PublishedStage]) -> tuple[Stage, ...]:
    """Stages with every depth from 1, expand ratios from 2 (the published one last), and kernels from 3.

    Where ratios differ within a stage the choices are those of the largest, and every block scales them.
    """
    return tuple(map(_elastic, published))


def _elastic(stage: PublishedStage) -> Stage:
    ratios = stage.ratios if isinstance(stage.ratios, tuple) else (stage.ratios,)
    largest = max(ratios)
    return Stage(
        widths=(stage.width,),
        stride=stage.stride,
        activation=stage.activation,
        use_se=stage.use_se,
        depths=tuple(range(1, stage.depth + 1)),
        kernel_sizes=tuple(range(3, stage.kernel_size + 1, 2)),
        expand_ratios=(*(ratio for ratio in _SMALLER_RATIOS if ratio < largest), largest),
        expand_scales=tuple(ratio / largest for ratio in ratios) if len(set(ratios)) > 1 else (),
    )

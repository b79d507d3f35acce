"""OFA's ResNet-50 space (Cai et al. 2020, extended release): elastic width, depth and expand ratio.

ResNet-D: a stem of 3x3 convolutions whose second one is residual and may be skipped, bottlenecks whose
middle width is relative to their output, shortcuts projected after an average pool. The stem is two
stages here: the strided convolution with its optional residual, then the widening one.
"""

from __future__ import annotations

from ofa_toolkit.spaces.ofa_choices import RESOLUTIONS
from ofa_toolkit.spaces.rounding import make_divisible
from ofa_toolkit.spaces.space import Head, SearchSpace, Stage

WIDTH_MULTIPLIERS = (0.65, 0.8, 1.0)
STEM_WIDTH = 64
STAGE_WIDTHS = (256, 512, 1024, 2048)
BASE_DEPTHS = (2, 2, 4, 2)
EXTRA_DEPTHS = (0, 1, 2)
EXPAND_RATIOS = (0.2, 0.25, 0.35)


def _widths(base: int) -> tuple[int, ...]:
    return tuple(make_divisible(base * multiplier) for multiplier in WIDTH_MULTIPLIERS)


# Half of each stem width; two multipliers round to the same 24 channels and are one choice here.
_STEM_MIDDLE = tuple(sorted({make_divisible(width // 2) for width in _widths(STEM_WIDTH)}))

_STEM = (
    Stage(
        block="resnet_stem",
        widths=_STEM_MIDDLE,
        stride=2,
        activation="relu",
        depths=(1, 2),
        kernel_sizes=(3,),
        expand_ratios=(1,),
    ),
    Stage(
        block="resnet_stem",
        widths=_widths(STEM_WIDTH),
        stride=1,
        activation="relu",
        depths=(1,),
        kernel_sizes=(3,),
        expand_ratios=(1,),
        max_pool=True,
    ),
)

SPACE = SearchSpace(
    name="ofa-resnet50",
    source="Cai et al. 2020, Once-for-All (arXiv:1908.09791), ResNet-50 release",
    stem=None,
    stages=_STEM
    + tuple(
        Stage(
            block="bottleneck",
            widths=_widths(width),
            stride=1 if index == 0 else 2,
            activation="relu",
            depths=tuple(base + extra for extra in EXTRA_DEPTHS),
            kernel_sizes=(3,),
            expand_ratios=EXPAND_RATIOS,
        )
        for index, (width, base) in enumerate(zip(STAGE_WIDTHS, BASE_DEPTHS, strict=True))
    ),
    head=Head(),
    resolutions=RESOLUTIONS,
)

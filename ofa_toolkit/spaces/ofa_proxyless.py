"""OFA's ProxylessNAS space at width 1.3 (Cai et al., ICLR 2020; base network of ProxylessNAS-GPU, ICLR 2019).

ReLU6 everywhere, no squeeze-excite, a sixth stage of exactly one block, batch-norm epsilon 1e-3.
The largest subnet costs 1004.9 MMACs at 224 pixels.
"""

from __future__ import annotations

from ofa_toolkit.spaces.rounding import make_divisible
from ofa_toolkit.spaces.space import Head, SearchSpace, Stage, Stem

WIDTH_MULTIPLIER = 1.3
STEM_WIDTH, STEM_BLOCK_WIDTH = 32, 16
STAGE_WIDTHS = (24, 40, 80, 96, 192, 320)
STRIDES = (2, 2, 2, 1, 2, 1)
HEAD_WIDTH = 1280


def _scaled(width: int) -> int:
    return make_divisible(width * WIDTH_MULTIPLIER)


W13 = SearchSpace(
    name="ofa-proxyless-w1.3",
    source="Cai et al. 2020, Once-for-All (arXiv:1908.09791)",
    stem=Stem(
        width=_scaled(STEM_WIDTH),
        stride=2,
        activation="relu6",
        block_width=_scaled(STEM_BLOCK_WIDTH),
        block_activation="relu6",
        block_shortcut=False,
    ),
    stages=tuple(
        Stage(
            widths=(_scaled(width),),
            stride=stride,
            activation="relu6",
            depths=(2, 3, 4) if index < len(STAGE_WIDTHS) - 1 else (1,),
            kernel_sizes=(3, 5, 7),
            expand_ratios=(3, 4, 6),
        )
        for index, (width, stride) in enumerate(zip(STAGE_WIDTHS, STRIDES, strict=True))
    ),
    head=Head(expand_width=_scaled(HEAD_WIDTH), activation="relu6"),
    resolutions=tuple(range(128, 225, 4)),
    bn_eps=1e-3,
)

"""The ProxylessNAS family: base network ProxylessNAS-GPU (Cai et al., ICLR 2019), made elastic by OFA.

ReLU6 everywhere, no squeeze-excite, a sixth stage of exactly one block, batch-norm epsilon 1e-3.
"""

from __future__ import annotations

from ofa_toolkit.spaces.ofa_choices import DEPTHS, EXPAND_RATIOS, KERNEL_SIZES, RESOLUTIONS
from ofa_toolkit.spaces.rounding import make_divisible
from ofa_toolkit.spaces.space import Head, SearchSpace, Stage, Stem

STEM_WIDTH, STEM_BLOCK_WIDTH = 32, 16
STAGE_WIDTHS = (24, 40, 80, 96, 192, 320)
HEAD_WIDTH = 1280


def proxyless(
    name: str,
    *,
    source: str,
    width_multiplier: float,
    stem_stride: int = 2,
    strides: tuple[int, ...] = (2, 2, 2, 1, 2, 1),
    depths: tuple[int, ...] = DEPTHS,
    kernel_sizes: tuple[int, ...] = KERNEL_SIZES,
    resolutions: tuple[int, ...] = RESOLUTIONS,
    num_classes: int = 1000,
) -> SearchSpace:
    """One space of the family; every base width passes through `make_divisible`."""

    def scaled(width: int) -> int:
        return make_divisible(width * width_multiplier)

    last = len(STAGE_WIDTHS) - 1
    return SearchSpace(
        name=name,
        source=source,
        stem=Stem(
            width=scaled(STEM_WIDTH),
            stride=stem_stride,
            activation="relu6",
            block_width=scaled(STEM_BLOCK_WIDTH),
            block_activation="relu6",
            block_shortcut=False,
        ),
        stages=tuple(
            Stage(
                widths=(scaled(width),),
                stride=stride,
                activation="relu6",
                depths=(1,) if index == last else depths,
                kernel_sizes=kernel_sizes,
                expand_ratios=EXPAND_RATIOS,
            )
            for index, (width, stride) in enumerate(zip(STAGE_WIDTHS, strides, strict=True))
        ),
        head=Head(expand_width=scaled(HEAD_WIDTH), activation="relu6"),
        resolutions=resolutions,
        num_classes=num_classes,
        bn_eps=1e-3,
    )

"""MobileNetV3-Small and -Large (Howard et al., ICCV 2019, arXiv:1905.02244), made elastic.

The largest subnets are exactly the published networks in torchvision's form. Published expand ratios differ
within a stage: a stage's choices are those of its widest block, and the other blocks scale them. Depth is
elastic, and the kernel where the published one is larger than 3. OFA's spaces of the same family
(`ofa_mobilenet_v3.py`) have other networks as their largest.
"""

from __future__ import annotations

from ofa_toolkit.spaces.layer_spec import Activation
from ofa_toolkit.spaces.published import PublishedStage, elastic_stages
from ofa_toolkit.spaces.space import Head, SearchSpace, Stem

# Width, kernel size, stride, squeeze-excite, activation, middle channels of each block.
Row = tuple[int, int, int, bool, Activation, tuple[int, ...]]
LARGE_ROWS: tuple[Row, ...] = (
    (24, 3, 2, False, "relu", (64, 72)),
    (40, 5, 2, True, "relu", (72, 120, 120)),
    (80, 3, 2, False, "h_swish", (240, 200, 184, 184)),
    (112, 3, 1, True, "h_swish", (480, 672)),
    (160, 5, 2, True, "h_swish", (672, 960, 960)),
)
SMALL_ROWS: tuple[Row, ...] = (
    (24, 3, 2, False, "relu", (72, 88)),
    (40, 5, 2, True, "h_swish", (96, 240, 240)),
    (48, 5, 1, True, "h_swish", (120, 144)),
    (96, 5, 2, True, "h_swish", (288, 576, 576)),
)
_STEM_WIDTH = 16


def _mobilenet_v3(name: str, rows: tuple[Row, ...], mix_width: int, *, is_small: bool) -> SearchSpace:
    stages, before = [], _STEM_WIDTH
    for width, kernel_size, stride, use_se, activation, middles in rows:
        inputs = (before, *(width for _ in middles[1:]))
        stages.append(
            PublishedStage(
                width=width,
                depth=len(middles),
                kernel_size=kernel_size,
                stride=stride,
                ratios=tuple(middle / channels for middle, channels in zip(middles, inputs, strict=True)),
                activation=activation,
                use_se=use_se,
            )
        )
        before = width
    return SearchSpace(
        name=name,
        source="Howard et al. 2019, Searching for MobileNetV3 (arXiv:1905.02244)",
        stem=Stem(
            width=_STEM_WIDTH,
            stride=2,
            activation="h_swish",
            block_width=_STEM_WIDTH,
            block_activation="relu",
            block_shortcut=not is_small,
            block_stride=2 if is_small else 1,
            block_use_se=is_small,
        ),
        stages=elastic_stages(stages),
        head=Head(expand_width=6 * before, mix_width=mix_width, activation="h_swish", mix_bias=True),
        resolutions=(96, 128, 160, 192, 224),
        bn_eps=1e-3,
    )


SMALL = _mobilenet_v3("mobilenet-v3-small", SMALL_ROWS, 1024, is_small=True)
LARGE = _mobilenet_v3("mobilenet-v3-large", LARGE_ROWS, 1280, is_small=False)

"""EfficientNet-Lite 0, 1 and 2 (EfficientNet: Tan & Le, ICML 2019, arXiv:1905.11946), made elastic.

The largest subnet is exactly the published network: EfficientNet without squeeze-excite, with ReLU6,
a stem and head of fixed width, and TensorFlow's "same" padding. Depth and expand ratio of every stage are
elastic, and the kernel where the published one is larger than 3.
"""

from __future__ import annotations

import math

from ofa_toolkit.spaces.efficientnet import STAGES
from ofa_toolkit.spaces.published import PublishedStage, elastic_stages
from ofa_toolkit.spaces.rounding import make_divisible
from ofa_toolkit.spaces.space import Head, SearchSpace, Stem

_STEM_WIDTH, _STEM_BLOCK_WIDTH, _HEAD_WIDTH = 32, 16, 1280


def _lite(number: int, width: float, depth: float, resolutions: tuple[int, ...]) -> SearchSpace:
    """One network of the family; the last stage keeps its single block."""
    stages = (
        PublishedStage(
            width=make_divisible(channels * width),
            depth=1 if repeats == 1 else math.ceil(repeats * depth),
            kernel_size=kernel_size,
            stride=stride,
            ratios=6,
            activation="relu6",
        )
        for channels, repeats, kernel_size, stride in STAGES
    )
    return SearchSpace(
        name=f"efficientnet-lite{number}",
        source="Tan & Le 2019, EfficientNet (arXiv:1905.11946), Lite variant",
        stem=Stem(
            width=_STEM_WIDTH,
            stride=2,
            activation="relu6",
            block_width=make_divisible(_STEM_BLOCK_WIDTH * width),
            block_activation="relu6",
            block_shortcut=False,
        ),
        stages=elastic_stages(stages),
        head=Head(expand_width=_HEAD_WIDTH, activation="relu6"),
        resolutions=resolutions,
        bn_eps=1e-3,
        padding="same",
    )


LITE0 = _lite(0, 1.0, 1.0, (96, 128, 160, 192, 224))
LITE1 = _lite(1, 1.0, 1.1, (128, 160, 192, 224, 240))
LITE2 = _lite(2, 1.1, 1.2, (128, 160, 192, 224, 260))

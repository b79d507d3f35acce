"""EfficientNet-B0 (Tan & Le, ICML 2019, "EfficientNet", arXiv:1905.11946), made elastic.

The largest subnet is exactly the published network in torchvision's form: swish, squeeze-excite reduced
from every block's input, also in the first block, which has no expansion. Depth and expand ratio of every
stage are elastic, and the kernel where the published one is larger than 3.
"""

from __future__ import annotations

from ofa_toolkit.spaces.published import PublishedStage, elastic_stages
from ofa_toolkit.spaces.space import Head, SearchSpace, SqueezeExcite, Stem

STAGES = (
    (24, 2, 3, 2),
    (40, 2, 5, 2),
    (80, 3, 3, 2),
    (112, 3, 5, 1),
    (192, 4, 5, 2),
    (320, 1, 3, 1),
)
"""Width, depth, kernel size and stride; the Lite variants have them too."""

B0 = SearchSpace(
    name="efficientnet-b0",
    source="Tan & Le 2019, EfficientNet (arXiv:1905.11946)",
    stem=Stem(
        width=32,
        stride=2,
        activation="swish",
        block_width=16,
        block_activation="swish",
        block_shortcut=False,
        block_use_se=True,
    ),
    stages=elastic_stages(
        PublishedStage(
            width=width,
            depth=depth,
            kernel_size=kernel_size,
            stride=stride,
            ratios=6,
            activation="swish",
            use_se=True,
        )
        for width, depth, kernel_size, stride in STAGES
    ),
    head=Head(expand_width=1280, activation="swish"),
    resolutions=(96, 128, 160, 192, 224),
    squeeze_excite=SqueezeExcite(reduces="input", activation="swish", gate="sigmoid"),
)

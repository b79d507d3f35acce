"""MnasNet-B1 (Tan et al., CVPR 2019, "MnasNet", arXiv:1807.11626) at width 1.0, made elastic.

The largest subnet is exactly the published network in torchvision's form (`mnasnet1_0`). Depth and expand
ratio of every stage are elastic, and the kernel where the published one is larger than 3.
"""

from __future__ import annotations

from ofa_toolkit.spaces.published import PublishedStage, elastic_stages
from ofa_toolkit.spaces.space import Head, SearchSpace, Stem

# Expand ratio, kernel size, width, depth, stride.
STAGES = (
    (3, 3, 24, 3, 2),
    (3, 5, 40, 3, 2),
    (6, 5, 80, 3, 2),
    (6, 3, 96, 2, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)

W10 = SearchSpace(
    name="mnasnet-w1.0",
    source="Tan et al. 2019, MnasNet (arXiv:1807.11626)",
    stem=Stem(
        width=32,
        stride=2,
        activation="relu",
        block_width=16,
        block_activation="relu",
        block_shortcut=False,
    ),
    stages=elastic_stages(
        PublishedStage(
            width=width, depth=depth, kernel_size=kernel_size, stride=stride, ratios=ratio, activation="relu"
        )
        for ratio, kernel_size, width, depth, stride in STAGES
    ),
    head=Head(expand_width=1280, activation="relu"),
    resolutions=(96, 128, 160, 192, 224),
)

"""MobileNetV2 (Sandler et al., CVPR 2018, arXiv:1801.04381), made elastic.

The largest subnet is exactly the published network in torchvision's form. Depth and expand ratio of every
stage are elastic; all kernels are 3x3.
"""

from __future__ import annotations

from ofa_toolkit.spaces.published import PublishedStage, elastic_stages
from ofa_toolkit.spaces.space import Head, SearchSpace, Stem

# Width, depth, stride.
STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))

SPACE = SearchSpace(
    name="mobilenet-v2",
    source="Sandler et al. 2018, MobileNetV2 (arXiv:1801.04381)",
    stem=Stem(
        width=32,
        stride=2,
        activation="relu6",
        block_width=16,
        block_activation="relu6",
        block_shortcut=False,
    ),
    stages=elastic_stages(
        PublishedStage(width=width, depth=depth, kernel_size=3, stride=stride, ratios=6, activation="relu6")
        for width, depth, stride in STAGES
    ),
    head=Head(expand_width=1280, activation="relu6"),
    resolutions=(96, 128, 160, 192, 224),
)

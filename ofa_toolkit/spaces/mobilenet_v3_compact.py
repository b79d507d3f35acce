"""Our MobileNetV3 space for small images and small machines.

The family of OFA's space (Cai et al. 2020) at half width, kernels 3 and 5, for 32-pixel images.
"""

from __future__ import annotations

from ofa_toolkit.spaces.mobilenet_v3_family import mobilenet_v3

SPACE = mobilenet_v3(
    "mobilenet-v3-compact",
    source="ofa-toolkit; family of Cai et al. 2020, Once-for-All (arXiv:1908.09791)",
    width_multiplier=0.5,
    stem_stride=1,
    strides=(2, 2, 2, 1, 1),
    kernel_sizes=(3, 5),
    resolutions=(32,),
    num_classes=10,
)

"""Our MobileNetV3 space for small images and small machines.

The family of OFA's space (Cai et al. 2020) at half width, with kernels 3 and 5, depths 1 to 3 and strides
for 32-pixel images (32, 16, 8, 8, 4, 4). Later stages are wider than the family's, where maps are small and
width is cheap. Largest 21.4 MMACs, smallest 3.6, about 10^12 subnets.
"""

from __future__ import annotations

from ofa_toolkit.spaces.mobilenet_v3_family import mobilenet_v3

SPACE = mobilenet_v3(
    "mobilenet-v3-compact",
    source="ofa-toolkit; family of Cai et al. 2020, Once-for-All (arXiv:1908.09791)",
    width_multiplier=0.5,
    stem_stride=1,
    strides=(2, 2, 1, 2, 1),
    widths=(32, 48, 96, 128, 192),
    depths=(1, 2, 3),
    kernel_sizes=(3, 5),
    resolutions=(32,),
    num_classes=10,
)

"""Our ProxylessNAS space for images of 32 pixels and small machines.

The family of OFA's space (Cai et al. 2020) at half width, with kernels 3 and 5 and depths 1 to 3; the stem
keeps the full size (32, 16, 8, 8, 8, 4, 4).
"""

from __future__ import annotations

from ofa_toolkit.spaces.proxyless_family import proxyless

SPACE_32 = proxyless(
    "proxyless-compact",
    source="ofa-toolkit; family of Cai et al. 2020, Once-for-All (arXiv:1908.09791)",
    width_multiplier=0.5,
    stem_stride=1,
    strides=(2, 2, 1, 1, 2, 1),
    depths=(1, 2, 3),
    kernel_sizes=(3, 5),
    resolutions=(32,),
    num_classes=10,
)

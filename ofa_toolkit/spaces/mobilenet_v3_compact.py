"""Our MobileNetV3 spaces for small images and small machines.

The family of OFA's space (Cai et al. 2020) at half width, with kernels 3 and 5 and depths 1 to 3. Later
stages are wider than the family's, where maps are small and width is cheap. About 10^12 architectures.

- `mobilenet-v3-compact`, for 32-pixel images, keeps the full size in the stem (32, 16, 8, 8, 4, 4).
  Largest 21.4 MMACs, smallest 3.6.
- `mobilenet-v3-compact-96`, for small photos, halves it there (from 96 pixels: 48, 24, 12, 12, 6, 6) and has
  elastic resolution. Largest 47.1 MMACs at 96 pixels, smallest 2.2 at 48.
"""

from __future__ import annotations

from ofa_toolkit.spaces.mobilenet_v3_family import mobilenet_v3
from ofa_toolkit.spaces.space import SearchSpace


def _compact(name: str, stem_stride: int, resolutions: tuple[int, ...]) -> SearchSpace:
    return mobilenet_v3(
        name,
        source="ofa-toolkit; family of Cai et al. 2020, Once-for-All (arXiv:1908.09791)",
        width_multiplier=0.5,
        stem_stride=stem_stride,
        strides=(2, 2, 1, 2, 1),
        widths=(32, 48, 96, 128, 192),
        depths=(1, 2, 3),
        kernel_sizes=(3, 5),
        resolutions=resolutions,
        num_classes=10,
    )


SPACE_32 = _compact("mobilenet-v3-compact", 1, (32,))
SPACE_96 = _compact("mobilenet-v3-compact-96", 2, (48, 64, 80, 96))

"""What OFA makes elastic in its MBConv networks, and its input sizes (Cai et al., ICLR 2020)."""

from __future__ import annotations

DEPTHS = (2, 3, 4)
KERNEL_SIZES = (3, 5, 7)
EXPAND_RATIOS = (3, 4, 6)
RESOLUTIONS = tuple(range(128, 225, 4))

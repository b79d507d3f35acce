"""OFA's ProxylessNAS space at width 1.3 (Cai et al., ICLR 2020).

The largest subnet costs 1004.9 MMACs at 224 pixels.
"""

from __future__ import annotations

from ofa_toolkit.spaces.proxyless_family import proxyless

W13 = proxyless(
    "ofa-proxyless-w1.3",
    source="Cai et al. 2020, Once-for-All (arXiv:1908.09791)",
    width_multiplier=1.3,
)

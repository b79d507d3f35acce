"""OFA's MobileNetV3 spaces (Cai et al., ICLR 2020, "Once-for-All"), at width 1.0 and 1.2.

The largest subnets cost 566.2 and 843.1 MMACs at 224 pixels, the smallest 41.5 and 65.5 at 128.
"""

from __future__ import annotations

import dataclasses

from ofa_toolkit.spaces.mobilenet_v3_family import mobilenet_v3

_SOURCE = "Cai et al. 2020, Once-for-All (arXiv:1908.09791)"

W10 = mobilenet_v3("ofa-mobilenet-v3-w1.0", source=_SOURCE)
W12 = dataclasses.replace(
    mobilenet_v3("ofa-mobilenet-v3-w1.2", source=_SOURCE, width_multiplier=1.2),
    # One of the specialised networks its authors published has a size that the space does not offer.
    single_resolutions=(228,),
)

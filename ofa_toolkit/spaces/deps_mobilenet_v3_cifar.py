"""The MobileNetV3 space of DϵpS for 32 x 32 images (Annavajjala et al., ECCV 2024).

As OFA's, with stem stride 1 and stage strides 1 2 2 1 2, so that 32 pixels become 4. The paper's
CIFAR runs offer kernel size 7 only; the space holds 3 and 5 as the reference implementation's does.
"""

from __future__ import annotations

from ofa_toolkit.spaces.mobilenet_v3_family import mobilenet_v3

SPACE = mobilenet_v3(
    "deps-mobilenet-v3-cifar",
    source="Annavajjala et al. 2024, DϵpS (ECCV 2024)",
    stem_stride=1,
    strides=(1, 2, 2, 1, 2),
    resolutions=(32,),
    num_classes=100,
)

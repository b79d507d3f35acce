"""The MobileNetV3 family: base network of Howard et al. 2019, made elastic by OFA."""

from __future__ import annotations

from collections.abc import Sequence

from ofa_toolkit.spaces.layer_spec import Activation
from ofa_toolkit.spaces.ofa_choices import DEPTHS, EXPAND_RATIOS, KERNEL_SIZES, RESOLUTIONS
from ofa_toolkit.spaces.rounding import make_divisible
from ofa_toolkit.spaces.space import Head, SearchSpace, Stage, Stem

STEM_WIDTH = 16
STAGE_WIDTHS = (24, 40, 80, 112, 160)
HEAD_WIDTHS = (960, 1280)
STAGE_ACTIVATIONS: tuple[Activation, ...] = ("relu", "relu", "h_swish", "h_swish", "h_swish")
STAGE_SE = (False, True, False, True, True)


def mobilenet_v3(
    name: str,
    *,
    source: str,
    width_multiplier: float = 1.0,
    stem_stride: int = 2,
    strides: tuple[int, ...] = (2, 2, 2, 1, 2),
    widths: tuple[int, ...] = STAGE_WIDTHS,
    depths: tuple[int, ...] = DEPTHS,
    kernel_sizes: tuple[int, ...] = KERNEL_SIZES,
    resolutions: tuple[int, ...] = RESOLUTIONS,
    num_classes: int = 1000,
) -> SearchSpace:
    """One space of the family; every base width passes through `make_divisible`."""

    def scaled(width: int) -> int:
        return make_divisible(width * width_multiplier)

    stem_width = scaled(STEM_WIDTH)
    return SearchSpace(
        name=name,
        source=source,
        stem=Stem(
            width=stem_width,
            stride=stem_stride,
            activation="h_swish",
            block_width=stem_width,
            block_activation="relu",
            block_shortcut=True,
        ),
        stages=_stages([scaled(width) for width in widths], strides, depths, kernel_sizes),
        head=Head(
            expand_width=scaled(HEAD_WIDTHS[0]),
            mix_width=scaled(HEAD_WIDTHS[1]),
            activation="h_swish",
        ),
        resolutions=resolutions,
        num_classes=num_classes,
    )


def _stages(
    widths: Sequence[int], strides: tuple[int, ...], depths: tuple[int, ...], kernel_sizes: tuple[int, ...]
) -> tuple[Stage, ...]:
    return tuple(
        Stage(
            widths=(width,),
            stride=stride,
            activation=activation,
            use_se=use_se,
            depths=depths,
            kernel_sizes=kernel_sizes,
            expand_ratios=EXPAND_RATIOS,
        )
        for width, stride, activation, use_se in zip(
            widths, strides, STAGE_ACTIVATIONS, STAGE_SE, strict=True
        )
    )

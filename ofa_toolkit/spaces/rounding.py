"""Channel arithmetic shared by every space of the MobileNet and ResNet families."""

from __future__ import annotations

CHANNEL_DIVISOR = 8


def make_divisible(value: float) -> int:
    """Round a channel count to a multiple of `CHANNEL_DIVISOR`, never more than 10 % down.

    Source: MobileNetV2 reference code, used unchanged by OFA and DϵpS.
    """
    rounded = max(CHANNEL_DIVISOR, int(value + CHANNEL_DIVISOR / 2) // CHANNEL_DIVISOR * CHANNEL_DIVISOR)
    return rounded + CHANNEL_DIVISOR if rounded < 0.9 * value else rounded


def middle_channels(channels: int, expand_ratio: float) -> int:
    """Width between expansion and projection of a block (MBConv: of its input, ResNet: of its output)."""
    return make_divisible(round(channels * expand_ratio))


def squeeze_channels(channels: int) -> int:
    """Hidden width of MobileNetV3's squeeze-excite branch over `channels` (ratio 1/4)."""
    return make_divisible(channels // 4)

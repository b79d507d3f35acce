"""How far an accuracy measured on few images may be from that on all."""

from __future__ import annotations

import math
from statistics import NormalDist

FEW_IMAGES = 100
"""Accuracies on fewer images are printed with their interval."""


def sampling_interval(top1_percent: float, num_images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share of images that were right, in percent (Wilson 1927, the score interval).

    Args:
        top1_percent: The share, 0 to 100.
        num_images: Number of images that were judged.
        confidence: Share of such intervals that hold the accuracy on all images.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = top1_percent / 100, z * z / num_images
    centre = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    low, high = ((centre + sign * half) / (1 + spread) for sign in (-1, 1))
    return 100 * max(low, 0.0), 100 * min(high, 1.0)


def percent_text(percent: float | None) -> str:
    """A share of images in percent as tables show it; a dash where there were none."""
    return "-" if percent is None else f"{percent:.1f}"


def accuracy_text(top1_percent: float, num_images: int) -> str:
    """An accuracy in percent, with its 95 % interval where few images were judged."""
    if num_images >= FEW_IMAGES:
        return f"{top1_percent:.2f}"
    low, high = sampling_interval(top1_percent, num_images)
    return f"{top1_percent:.2f} (95 % interval {low:.0f} to {high:.0f})"

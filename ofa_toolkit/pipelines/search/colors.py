"""One colour a resolution, the same in every picture of a front, on light and on dark ground."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

_FIRST_HUE, _LAST_HUE = 0.6, 1.09
"""From blue over magenta and red to orange, which those who see no green tell apart too."""
_FIRST_LUMINANCE, _LAST_LUMINANCE = 0.16, 0.29
"""At least 3 : 1 against white and against the dark page."""


def resolution_colors(resolutions: Iterable[int]) -> dict[int, str]:
    """Colours such as `#3b7dd8` by resolution: from blue for the smallest to orange for the largest."""
    ordered = sorted(set(resolutions))
    last = max(1, len(ordered) - 1)
    return {resolution: _color(index / last) for index, resolution in enumerate(ordered)}


def _color(share: float) -> str:
    hue = (_FIRST_HUE + share * (_LAST_HUE - _FIRST_HUE)) % 1
    wanted = _FIRST_LUMINANCE + share * (_LAST_LUMINANCE - _FIRST_LUMINANCE)
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if _luminance(_rgb(hue, middle)) < wanted else (low, middle)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in _rgb(hue, low))


def _rgb(hue: float, lightness: float) -> tuple[float, float, float]:
    return colorsys.hls_to_rgb(hue, lightness, 0.75)


def _luminance(rgb: tuple[float, float, float]) -> float:
    """Relative luminance as in WCAG 2.2."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

"""Colours of resolutions, in the PNG and on the page."""

from __future__ import annotations

import json

import numpy as np

from ofa_toolkit.pipelines.search.colors import resolution_colors
from ofa_toolkit.pipelines.search.front import find_front
from ofa_toolkit.pipelines.search.report import page


def test_a_colour_is_seen_on_light_and_on_dark() -> None:
    colors = resolution_colors(range(128, 225, 4))
    assert len(set(colors.values())) == len(colors) == 25
    for color in (*colors.values(), *resolution_colors([32]).values()):
        for ground in ("#ffffff", "#1b2430"):  # the cards of report_page.html
            lighter, darker = sorted((luminance(color), luminance(ground)), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 3


def luminance(color: str) -> float:
    channels = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_page_has_the_colours_of_the_picture() -> None:
    effort = {"population_size": 8, "num_children": 8, "num_generations": 2, "local": None}
    front = find_front(effort=effort)
    text = page([front.document()])
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    colors = resolution_colors(subnet.resolution for subnet in front.subnets)
    assert data["fronts"][0]["colors"] == {str(r): color for r, color in colors.items()}
    assert "flex-wrap: wrap" in text.partition(".stages {")[2].partition("}")[0]

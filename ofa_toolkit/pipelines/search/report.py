"""One self-contained HTML page about one or several fronts, to be looked at without a network."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.version import __version__
from ofa_toolkit.pipelines.search.colors import resolution_colors
from ofa_toolkit.pipelines.search.front import label
from ofa_toolkit.pipelines.search.front_file import spread_over_cost

_PAGE = Path(__file__).with_name("report_page.html")
_SLOT = "__DATA__"
_SCALES = {"macs": 1e6, "params": 1e6, "memory": 1e6}
_MOST_MEMBERS = 200
"""Members of a front on the page at most, spread over its first cost; the front's file holds all."""


def write_report(path: str | os.PathLike[str], fronts: Sequence[dict[str, Any]]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        fronts: Documents as `Front.document` gives and `read_front` reads.

    Raises:
        ConfigError: There is no front.
        OutputError: The file cannot be written.
    """
    if not fronts:
        raise ConfigError("A report needs a front.", hint="ofa-tk report --device jetson-nano")
    files.write_text(path, page(fronts))


def page(fronts: Sequence[dict[str, Any]]) -> str:
    """The HTML text."""
    document = {"version": __version__, "fronts": [_prepared(front) for front in fronts]}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Inside a script element only its end tag and comments have a meaning of their own.
    text = text.replace("<", "\\u003c")
    return _PAGE.read_text(encoding="utf-8").replace(_SLOT, text)


def _prepared(front: dict[str, Any]) -> dict[str, Any]:
    """Costs in the units of their labels, and a title."""
    costs = list(front["costs"])
    scales = [_SCALES.get(cost, 1.0) for cost in costs]
    members = [
        {**member, "costs": [value / scale for value, scale in zip(member["costs"], scales, strict=True)]}
        for member in front["members"]
    ]
    colors = resolution_colors(member["resolution"] for member in members)
    labels = [label(cost) for cost in costs]
    title = "Accuracy against " + ", ".join(
        text[0].lower() + text[1:] if text[:2] != "MA" else text for text in labels
    )
    members = spread_over_cost(members, _MOST_MEMBERS)
    short = ["Latency (ms)" if cost.startswith("latency:") else label(cost) for cost in costs]
    if len(set(short)) < len(short):
        short = labels
    own = {"members": members, "labels": labels, "shortLabels": short, "title": title, "colors": colors}
    return {**front, **own}

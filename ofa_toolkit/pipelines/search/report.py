"""One self-contained HTML page about one or several fronts, to be looked at without a network."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import ConfigError, FileFormatError
from ofa_toolkit.core.version import __version__
from ofa_toolkit.pipelines.search.front import FORMAT, VERSION, label

_PAGE = Path(__file__).with_name("report_page.html")
_SLOT = "__DATA__"
_SCALES = {"macs": 1e6, "params": 1e6, "memory": 1e6}
_MOST_MEMBERS = 200
"""Of a front on the page, spread over it; its file holds all."""

_KEYS = ("space", "supernet", "costs", "members", "search", "warnings")


def read_front(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The document of a front file.

    Raises:
        FileFormatError: It is no front of ours.
    """
    try:
        document = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise FileFormatError(f"Cannot read front '{path}': {error.strerror or error}.") from error
    except ValueError as error:
        raise FileFormatError(f"'{path}' is not a front: not valid JSON ({error}).") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FileFormatError(
            f"'{path}' is not a front ({FORMAT}).",
            hint="`ofa-tk search --device NAME --pareto front.json` writes one.",
        )
    if document.get("version") != VERSION:
        raise FileFormatError(f"'{path}' is of version {document.get('version')}, not {VERSION}.")
    missing = [key for key in _KEYS if key not in document]
    if missing or not document["members"]:
        raise FileFormatError(f"'{path}' is damaged: no {missing[0] if missing else 'members'}.")
    return document


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
        raise ConfigError("A report needs a front.", hint="ofa-tk report front.json, or --device jetson-nano")
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
    labels = [label(cost) for cost in costs]
    title = "Accuracy against " + ", ".join(
        text[0].lower() + text[1:] if text[:2] != "MA" else text for text in labels
    )
    if len(members) > _MOST_MEMBERS:
        kept = [round(i * (len(members) - 1) / (_MOST_MEMBERS - 1)) for i in range(_MOST_MEMBERS)]
        members = [members[index] for index in kept]
    short = ["Latency (ms)" if cost.startswith("latency:") else label(cost) for cost in costs]
    if len(set(short)) < len(short):
        short = labels
    return {**front, "members": members, "labels": labels, "shortLabels": short, "title": title}

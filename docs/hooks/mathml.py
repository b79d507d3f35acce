"""Turn LaTeX into MathML while the site is built: formulas need no script, no font and no network."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def _replace(match: re.Match[str]) -> str:
    display = "inline" if match["open"] == "(" else "block"
    return str(convert(html.unescape(match["latex"]).strip(), display=display))


def on_page_content(content: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of a page."""
    return _FORMULA.sub(_replace, content)

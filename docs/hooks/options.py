"""Keep options in sentences on one line: browsers break `--data` behind its hyphens."""

from __future__ import annotations

import re
from typing import Any

_CODE = re.compile(r"<code>[^<]*--[^<]*</code>")
_OPTION = re.compile(r"(?<![^\s>])--[\w-]+")


def on_page_content(content: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of a page."""
    return _CODE.sub(lambda code: _OPTION.sub(r'<span class="option">\g<0></span>', code[0]), content)

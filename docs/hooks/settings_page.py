"""Write the reference of a recipe's settings from the configuration classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ofa_toolkit.core import config
from ofa_toolkit.core.config import FieldInfo
from ofa_toolkit.training import ALGORITHMS
from ofa_toolkit.training.config import RunConfig

MARKER = "<!-- settings -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with the source of a page: fill the marker."""
    return markdown.replace(MARKER, "\n".join(_sections())) if MARKER in markdown else markdown


def _sections() -> Iterator[str]:
    tables: dict[str, list[FieldInfo]] = {}
    for info in config.describe(RunConfig):
        table, dot, _ = info.path.partition(".")
        tables.setdefault(table if dot else "", []).append(info)
    tables.pop("algorithm", None)
    for table, infos in tables.items():
        yield f"## [{table}]\n" if table else "## Top level\n"
        yield from _table(infos)
    for name in ALGORITHMS:
        yield f'## [algorithm] with name = "{name}"\n'
        yield from _table(config.describe(ALGORITHMS[name], "algorithm."))


def _table(infos: Iterable[FieldInfo]) -> Iterator[str]:
    yield "| setting | type | default | meaning |\n| --- | --- | --- | --- |"
    for info in infos:
        default = "required" if info.default is None else f"`{info.default}`"
        yield f"| `{info.path}` | {info.type_name} | {default} | {info.help} |"
    yield ""

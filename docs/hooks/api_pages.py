"""Make the pages of the Python reference: one for every package, so that a new one needs no line here."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PACKAGE = Path("ofa_toolkit")


def _packages() -> list[Path]:
    return sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


def _summary(package: Path) -> str:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    return (docstring or "").partition("\n\n")[0]


def on_config(config: Any) -> Any:
    """Called by MkDocs first: put the pages into the navigation."""
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    python = next(entry for entry in reference if "Python" in entry)
    python["Python"] = [f"reference/python/{package.name}.md" for package in _packages()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Called by MkDocs with the files of the site: add the pages."""
    for package in _packages():
        content = f"# ofa_toolkit.{package.name}\n\n{_summary(package)}\n\n::: ofa_toolkit.{package.name}\n"
        files.append(File.generated(config, f"reference/python/{package.name}.md", content=content))
    return files

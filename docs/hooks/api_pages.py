"""Make the pages of the Python reference: one for every package, so that a new one needs no line here."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PACKAGE = Path("ofa_toolkit")


def _packages() -> list[Path]:
    return sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


def _page(package: Path) -> str:
    """What the package is, what it defines itself, then its modules, each name where it is defined."""
    source = package / "__init__.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    name = ".".join(package.parts)
    own = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    public = [item for item in own if not item.startswith("_")]
    # Where the package itself is documented below, its docstring is printed there.
    lines = [f"# {name}", "", "" if public else ast.get_docstring(tree) or "", ""]
    exported = _exported(tree)
    if exported:
        lines += [f"`from {name} import` " + ", ".join(f"`{item}`" for item in exported), ""]
    if public:
        lines += [
            f"::: {name}",
            "    options:",
            "      show_submodules: false",
            f"      members: {public}",
            "",
        ]
    for module in sorted(package.rglob("*.py")):
        parts = module.with_suffix("").relative_to(package).parts
        if parts[-1].startswith("_"):
            continue
        lines += [f"## {'.'.join(parts)}", "", f"::: {name}.{'.'.join(parts)}", "    options:"]
        lines += ["      heading_level: 3", "      show_submodules: false", ""]
    return "\n".join(lines)


def _exported(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def on_config(config: Any) -> Any:
    """Called by MkDocs first: put the pages into the navigation."""
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    python = next(entry for entry in reference if "Python" in entry)
    python["Python"] = [f"reference/python/{package.name}.md" for package in _packages()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Called by MkDocs with the files of the site: add the pages."""
    for package in _packages():
        files.append(File.generated(config, f"reference/python/{package.name}.md", content=_page(package)))
    return files

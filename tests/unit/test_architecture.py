"""Guards of the layout: layers, what needs no torch, the table of commands."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ofa_tk.commands
import ofa_toolkit
from ofa_tk.app import COMMANDS, cli
from ofa_toolkit.core import toml

ROOT = Path(__file__).resolve().parents[2]

TORCH_FREE = (
    "core",
    "spaces",
    "complexity",
    "graphs",
    "search",
    "latency.device",
    "latency.table",
    "latency.predictor",
    "latency.calibration",
    "evaluation.predictor",
    "evaluation.pareto_metrics",
)
"""Parts that plan and predict; a machine without torch's two gigabytes can still search."""


def exists(part: str) -> bool:
    path = ROOT / "ofa_toolkit" / part.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def contracts() -> list[dict[str, Any]]:
    settings = toml.load(ROOT / "pyproject.toml")
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def test_torch_free_parts_are_under_contract() -> None:
    (contract,) = (c for c in contracts() if "torch" in c.get("forbidden_modules", ()))
    expected = {f"ofa_toolkit.{part}" for part in TORCH_FREE if exists(part)}
    assert expected <= set(contract["source_modules"])


def test_every_package_has_its_layer() -> None:
    (contract,) = (c for c in contracts() if c["type"] == "layers")
    layered = set(" ".join(contract["layers"]).replace("|", " ").replace("(", " ").replace(")", " ").split())
    packages = {f"ofa_toolkit.{path.parent.name}" for path in ROOT.glob("ofa_toolkit/*/__init__.py")}
    assert packages <= layered


@pytest.mark.parametrize("part", [part for part in TORCH_FREE if exists(part)])
def test_importing_a_torch_free_part_loads_no_torch(part: str) -> None:
    code = f"import sys, ofa_toolkit.{part}; print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom ofa_tk.app import run\nassert run(['--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'onnx', 'rich', 'matplotlib', 'importlib.metadata'} & set(sys.modules)\n"
        "loaded = [name for name in sys.modules if name.startswith('ofa_tk.commands.')]\n"
        "print(sorted(heavy), loaded, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[] []"
    assert all(name in done.stdout for name in COMMANDS)


def test_lazy_exports_resolve_and_type_checkers_see_the_same() -> None:
    tree = ast.parse((ROOT / "ofa_toolkit" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imports for alias in node.names}
    assert seen == ofa_toolkit._EXPORTS
    for name in ofa_toolkit._EXPORTS:
        assert getattr(ofa_toolkit, name).__module__.startswith("ofa_toolkit.")
        assert name in dir(ofa_toolkit)
    with pytest.raises(AttributeError, match="no attribute 'extrct'"):
        ofa_toolkit.extrct  # noqa: B018


def test_importing_the_package_imports_no_part_of_it() -> None:
    code = "import sys, ofa_toolkit; print([name for name in sys.modules if name.startswith('ofa_toolkit.')])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def command_files() -> set[str]:
    (folder,) = ofa_tk.commands.__path__
    return {path.stem for path in Path(folder).glob("*.py") if path.stem != "__init__"}


def test_every_command_file_is_in_the_table_and_back() -> None:
    assert command_files() == set(COMMANDS)
    for name, (location, _) in COMMANDS.items():
        assert location == f"ofa_tk.commands.{name}:command"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_and_the_command_say_the_same(name: str) -> None:
    command = cli.get_command(cli.make_context("ofa-tk", [name], resilient_parsing=True), name)
    assert command is not None
    assert command.get_short_help_str(limit=200) == COMMANDS[name][1]
    assert len(COMMANDS[name][1]) <= 66, "the line has to fit beside its name in 80 columns"

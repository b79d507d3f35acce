"""Guards of the layout: layers, what needs no torch, the table of commands."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ofa_tk.commands
import ofa_toolkit
from ofa_tk.app import COMMANDS, cli
from ofa_toolkit.core import toml
from ofa_toolkit.export.formats import FORMATS
from ofa_toolkit.export.targets import GENERATIONS
from ofa_toolkit.latency.kit.back_ends import BACK_ENDS

ROOT = Path(__file__).resolve().parents[2]

TORCH_FREE = (
    "core",
    "spaces",
    "complexity",
    "graphs",
    "search",
    "latency.device",
    "latency.table",
    "latency.predictors",
    "latency.calibration",
    "evaluation.predictor.predictor",
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


def test_data_sets_do_without_torchvision_until_it_is_needed() -> None:
    """It brings torch's compiler along: seconds for every command that looks at images."""
    code = (
        "import sys, ofa_toolkit.datasets as d; d.open_dataset('fake'); print('torchvision' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_no_runtime_or_format_is_told_by_its_name() -> None:
    """What differs between them is a property of theirs, so that another one is one file and one line."""
    names = {*FORMATS, *BACK_ENDS, *(row.runtime for row in GENERATIONS), "onnx", "onnxruntime-cpu"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in (*ROOT.glob("ofa_toolkit/**/*.py"), *ROOT.glob("cli/**/*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare) and names & set(_compared_strings(node))
    ]
    assert found == []


def _compared_strings(node: ast.Compare) -> Iterator[str]:
    is_member = isinstance(node.ops[0], (ast.In, ast.NotIn))  # what is looked for in a table may be a key
    for side in node.comparators if is_member else (node.left, *node.comparators):
        values = side.elts if isinstance(side, (ast.Tuple, ast.List, ast.Set)) else [side]
        yield from (v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str))


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


def imported_modules(*folders: str) -> set[str]:
    """Top-level names of all absolute imports in the sources, wherever in a file they stand."""
    names: set[str] = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.partition(".")[0])
    return names


def declared(*extras: str) -> set[str]:
    project = toml.load(ROOT / "pyproject.toml")["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return {canonicalize_name(Requirement(text).name) for texts in lists for text in texts}


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (("ofa_toolkit", "cli"), ("heif", "slurm", "tensorrt", "timm", *FORMATS)),
        (("tests",), ("tensorrt", "test")),
    ],
)
def test_every_imported_package_is_a_declared_dependency(
    folders: tuple[str, ...], extras: tuple[str, ...]
) -> None:
    """Nothing works only because another package happens to bring it along."""
    # `picture` lies beside the runner of a bundle.
    own = {"ofa_toolkit", "ofa_tk", "tests", "tensorrt", "tomli", "_typeshed", "picture"}
    third_party = imported_modules(*folders) - own - sys.stdlib_module_names
    distributions = importlib.metadata.packages_distributions()
    undeclared = {
        name
        for name in third_party
        if not {canonicalize_name(d) for d in distributions.get(name, [name])} & declared(*extras)
    }
    assert not undeclared


def test_lazy_exports_resolve_and_type_checkers_see_the_same() -> None:
    tree = ast.parse((ROOT / "ofa_toolkit" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imports for alias in node.names}
    assert seen == ofa_toolkit._EXPORTS
    for name, module in ofa_toolkit._EXPORTS.items():
        assert getattr(ofa_toolkit, name) is getattr(importlib.import_module(module), name)
    assert set(dir(ofa_toolkit)) == set(ofa_toolkit._FRONT_DOOR) < set(ofa_toolkit._EXPORTS)
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
def test_every_command_loads_and_explains_itself(name: str) -> None:
    command = cli.get_command(cli.make_context("ofa-tk", [name], resilient_parsing=True), name)
    assert command is not None
    assert command.help
    line = COMMANDS[name][1]
    assert line.endswith(".")
    assert len(line) <= 66, "the line has to fit beside its name in 80 columns"

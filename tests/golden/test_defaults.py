"""What a setting is where nobody names it: whoever leaves it out gets another run when it changes.

After a change that is meant: `python -m tests.golden.test_defaults` writes `defaults.json` anew.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ofa_toolkit

FILE = Path(__file__).with_name("defaults.json")
SETTINGS = ("Config", "Effort", "Ends", "Options", "Pass", "Phase", "Preparation", "Request")
PLAIN = (bool, int, float, str, tuple, Path, type(None))
KNOWN: dict[str, dict[str, dict[str, str]]] = json.loads(FILE.read_text()) if FILE.exists() else {}


@pytest.mark.parametrize("module", KNOWN)
def test_defaults_are_as_they_were(module: str) -> None:
    assert defaults_of(module) == KNOWN[module]


def test_every_module_with_settings_is_known() -> None:
    """By its text, for importing all takes seconds."""
    root = Path(ofa_toolkit.__file__).parent
    with_settings = {
        "ofa_toolkit." + ".".join(file.relative_to(root).with_suffix("").parts)
        for file in root.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("class ") and line[6:].partition(":")[0].partition("(")[0].endswith(SETTINGS)
    }
    assert with_settings - set(KNOWN) == {name for name in with_settings if not defaults_of(name)}


def defaults_of(module: str) -> dict[str, dict[str, str]]:
    """Of the settings of a module, by class and field, as Python writes them."""
    found = importlib.import_module(module)
    return {
        name: defaults
        for name, each in vars(found).items()
        if inspect.isclass(each) and each.__module__ == module and name.endswith(SETTINGS)
        if dataclasses.is_dataclass(each) and (defaults := dict(_defaults(each)))
    }


def _defaults(settings: Any) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(settings):
        if field.init and (isinstance(field.default, PLAIN) or dataclasses.is_dataclass(field.default)):
            yield field.name, repr(field.default)


if __name__ == "__main__":
    modules = [each.name for each in pkgutil.walk_packages(ofa_toolkit.__path__, "ofa_toolkit.")]
    modules = [name for name in modules if ".kit." not in name or ".latency." in name]
    every = {name: found for name in modules if (found := defaults_of(name))}
    FILE.write_text(json.dumps(every, indent=1) + "\n")

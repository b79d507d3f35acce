"""What a setting is where nobody names it, and its limits: a change gives users another run, or an error.

After a change that is meant: `python -m tests.golden.test_settings` writes `settings.json` anew.
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

FILE = Path(__file__).with_name("settings.json")
NAMES = ("Config", "Effort", "Ends", "Options", "Pass", "Phase", "Preparation", "Request")
"""Of classes of settings; others are here for the limits of their fields."""

PLAIN = (bool, int, float, str, tuple, Path, type(None))
KNOWN: dict[str, dict[str, dict[str, str]]] = json.loads(FILE.read_text()) if FILE.exists() else {}


@pytest.mark.parametrize("module", KNOWN)
def test_settings_are_as_they_were(module: str) -> None:
    assert settings_of(module) == KNOWN[module]


def test_every_module_with_settings_is_known() -> None:
    """By its text, for importing all takes seconds."""
    root = Path(ofa_toolkit.__file__).parent
    with_settings = {
        "ofa_toolkit." + ".".join(file.relative_to(root).with_suffix("").parts)
        for file in root.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if _class_name(line).endswith(NAMES) or ": Annotated[" in line
    }
    assert {name for name in with_settings - set(KNOWN) if settings_of(name)} == set()


def _class_name(line: str) -> str:
    return line[6:].partition(":")[0].partition("(")[0] if line.startswith("class ") else ""


def settings_of(module: str) -> dict[str, dict[str, str]]:
    """The settings of a module, by class and field: declaration and default, as Python writes them."""
    found = importlib.import_module(module)
    return {
        name: settings
        for name, each in vars(found).items()
        if inspect.isclass(each) and each.__module__ == module and dataclasses.is_dataclass(each)
        if (settings := dict(_settings(each)))
        if name.endswith(NAMES) or any("Bounds(" in setting for setting in settings.values())
    }


def _settings(settings: Any) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(settings):
        if isinstance(field.default, PLAIN) or dataclasses.is_dataclass(field.default):
            yield field.name, f"{field.type} = {field.default!r}"
        elif "Bounds(" in str(field.type):
            yield field.name, str(field.type)


if __name__ == "__main__":
    modules = [each.name for each in pkgutil.walk_packages(ofa_toolkit.__path__, "ofa_toolkit.")]
    modules = [name for name in modules if ".kit." not in name or ".latency." in name]
    every = {name: found for name in modules if (found := settings_of(name))}
    FILE.write_text(json.dumps(every, indent=1) + "\n")

"""Packages of others: which distribution an import belongs to, and the line that installs it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys

from ofa_toolkit.core.errors import MissingDependencyError

DISTRIBUTION = "ofa-toolkit"

_IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml"}


def import_name(distribution: str) -> str:
    """What a distribution is called in an import statement."""
    return _IMPORT_NAMES.get(distribution.lower(), distribution.replace("-", "_"))


def pip_line(requirement: str, *, again: bool = False) -> str:
    """The line that installs a requirement, or installs it `again` where its files are broken."""
    return f"pip install {'--force-reinstall ' if again else ''}'{requirement}'"


def missing_dependency(error: ImportError) -> MissingDependencyError | None:
    """Say what to install when an import failed; None where the import is a mistake of ours."""
    top = (error.name or "").partition(".")[0]
    if top in ("ofa_toolkit", "ofa_tk"):
        return None
    if not top:
        return MissingDependencyError(f"A package cannot be imported: {error}.", hint="ofa-tk doctor")
    if top.lstrip("_") in sys.stdlib_module_names:
        return MissingDependencyError(
            f"This Python was built without its module '{top}'.", hint="Use another build of Python."
        )
    name, requirement = _requirement(top)
    is_there = not isinstance(error, ModuleNotFoundError) or importlib.util.find_spec(top) is not None
    problem = f"cannot be used: {error}" if is_there else "is not installed"
    return MissingDependencyError(
        f"The package '{name}' {problem}.", hint=pip_line(requirement, again=is_there)
    )


def _requirement(module: str) -> tuple[str, str]:
    """The distribution a module comes from, and what this package asks of it."""
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or ()
    except importlib.metadata.PackageNotFoundError:
        declared = ()
    for requirement in map(Requirement, declared):
        if import_name(requirement.name) == module:
            return requirement.name, f"{requirement.name}{requirement.specifier}"
    return module, module

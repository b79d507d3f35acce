"""Check an installation: packages, devices, optional back ends, folders.

Every finding is made by trying: a package is imported, a folder is written to, a program is looked up.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from ofa_toolkit.core import quantities, resources
from ofa_toolkit.core.dependencies import DISTRIBUTION, import_name, pip_line
from ofa_toolkit.core.errors import first_line
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.latency.measuring.system import cpu_name

_LEAST_FREE_BYTES = 10**9


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One finding.

    Args:
        group: `packages`, `devices`, `back ends`, `formats` or `folders`.
        name: Name of the checked part.
        status: `ok`; `absent` for an optional part that is not there; `broken` for a required one.
        detail: A version, a model name, a path with its free space, or what went wrong.
        fix: Advice that mends it; empty when there is nothing to do.
    """

    group: str
    name: str
    status: Literal["ok", "absent", "broken"]
    detail: str
    fix: str = ""


def diagnose() -> tuple[Diagnosis, ...]:
    """Make all checks, in the order in which a broken part breaks the others."""
    return (*_packages(), *_devices(), *_back_ends(), *_formats(), *_folders())


def _found(group: str, name: str, detail: str) -> Diagnosis:
    return Diagnosis(group=group, name=name, status="ok", detail=detail)


def _absent(group: str, name: str, detail: str, fix: str = "") -> Diagnosis:
    return Diagnosis(group=group, name=name, status="absent", detail=detail, fix=fix)


def _broken(group: str, name: str, detail: str, fix: str) -> Diagnosis:
    return Diagnosis(group=group, name=name, status="broken", detail=detail, fix=fix)


def _packages() -> Iterator[Diagnosis]:
    yield _found("packages", "python", f"{platform.python_version()} ({sys.executable})")
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        detail = "runs from a folder without being installed"
        yield _broken("packages", DISTRIBUTION, detail, fix="pip install -e . (in the checkout)")
        return
    yield _found("packages", DISTRIBUTION, distribution.version)
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(requirement)


def _package(requirement: Requirement) -> Diagnosis:
    wanted = f"{requirement.name}{requirement.specifier}"
    fix = pip_line(wanted)
    try:
        version = importlib.metadata.version(requirement.name)
        if requirement.specifier.contains(version, prereleases=True):
            importlib.import_module(import_name(requirement.name))
            return _found("packages", requirement.name, version)
        detail = f"{version}, needed is {requirement.specifier}"
    except importlib.metadata.PackageNotFoundError:
        detail = "not installed"
    except Exception as error:  # a broken binary package may raise anything
        detail = f"cannot be imported: {type(error).__name__}: {error}".splitlines()[0]
        fix = pip_line(wanted, again=True)
    return _broken("packages", requirement.name, detail, fix)


def _devices() -> Iterator[Diagnosis]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield _found("devices", "cpu", f"{cpu_name()}, {counted(cores or 1, 'core')} usable")
    try:
        import torch

        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    except Exception as error:  # the package check above says what to do
        yield _absent("devices", "cuda", f"cannot ask torch: {error}".splitlines()[0])
        return
    for index, name in enumerate(names):
        yield _found("devices", f"cuda:{index}", name)
    if not names:
        reason = "no GPU or no driver" if torch.version.cuda else "this torch is built without CUDA"
        yield _absent("devices", "cuda", f"{reason}; training runs on the CPU")


def _back_ends() -> Iterator[Diagnosis]:
    try:
        import onnxruntime

        providers = ", ".join(
            name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()
        )
        yield _found("back ends", "onnxruntime", f"providers: {providers}")
    except Exception as error:  # the package check above says what to do
        yield _absent("back ends", "onnxruntime", first_line(error))
    try:
        yield _found("back ends", "tensorrt", importlib.metadata.version("tensorrt"))
    except importlib.metadata.PackageNotFoundError:
        fix = "pip install 'ofa-toolkit[tensorrt]' (needs an NVIDIA GPU)"
        yield _absent("back ends", "tensorrt", "not installed; engines cannot be built here", fix)
    if program := shutil.which("trtexec"):
        yield _found("back ends", "trtexec", program)
    else:
        fix = "comes with NVIDIA TensorRT; add its bin folder to PATH"
        yield _absent("back ends", "trtexec", "not on PATH", fix)


def _formats() -> Iterator[Diagnosis]:
    """What `ofa-tk export --format` can write here."""
    from ofa_toolkit.export.formats import FORMATS
    from ofa_toolkit.export.formats.format import install_line, missing_packages, versions

    for name, form in FORMATS.items():
        if missing := missing_packages(form):
            yield _absent("formats", name, f"not installed: {', '.join(missing)}", install_line(form))
        else:
            there = ", ".join(f"{package} {version}" for package, version in versions(form).items())
            yield _found("formats", name, there)


def _folders() -> Iterator[Diagnosis]:
    for kind in resources.KINDS:
        try:
            entries = resources.entries(kind)
            yield _found("folders", kind, f"{len(entries)} in {resources.data_path(kind)}")
        except Exception as error:
            fix = "pip install --force-reinstall --no-deps ofa-toolkit"
            yield _broken("folders", kind, str(error), fix)
    yield _folder("cache", resources.cache_path(), "set OFA_TK_CACHE to a folder you can write to")
    yield _folder("user data", resources.user_data_path(), "set OFA_TK_DATA to a folder you can write to")
    yield _folder("temporary files", Path(tempfile.gettempdir()), "set TMPDIR to a folder you can write to")


def _folder(name: str, path: Path, fix: str) -> Diagnosis:
    """Write a file where the folder is, or would be made, without making it."""
    existing = next((folder for folder in (path, *path.parents) if folder.exists()), path)
    try:
        with tempfile.NamedTemporaryFile(dir=existing):
            pass
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return _broken("folders", name, f"{path}: {error.strerror or error}", fix)
    detail = f"{path}, {quantities.MEMORY.format(free)} free"
    if free < _LEAST_FREE_BYTES:
        return _broken("folders", name, detail, f"free some space, or {fix}")
    return _found("folders", name, detail)

"""What users install: the built wheel and sdist hold everything, under the right names, and work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

DATA_FOLDERS = ("zoo", "latency_tables", "configs")


def build(source: Path, out: Path, *targets: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    for target in targets:
        command += ["-t", target]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    build(ROOT, out, "wheel", "sdist")
    return out


def wheel_of(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def wheel_names(folder: Path) -> set[str]:
    with zipfile.ZipFile(wheel_of(folder)) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--target", str(target), str(wheel_of(built))], check=True)
    return target


def run(installed: Path, *arguments: str, cwd: Path) -> str:
    """Run Python with the installed wheel in front of everything, away from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def source_files(*folders: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def test_wheel_holds_two_packages_and_nothing_else(built: Path) -> None:
    tops = {name.split("/")[0] for name in wheel_names(built)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ofa_toolkit", "ofa_tk"}


def test_wheel_holds_every_source_and_data_file(built: Path) -> None:
    expected = source_files("ofa_toolkit")
    expected |= {name.removeprefix("cli/") for name in source_files("cli/ofa_tk")}
    expected |= {f"ofa_toolkit/_data/{name}" for name in source_files(*DATA_FOLDERS)}
    assert expected <= wheel_names(built)


def test_metadata(built: Path) -> None:
    with zipfile.ZipFile(wheel_of(built)) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        (scripts,) = (archive.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.10" in metadata
    assert "ofa-tk = ofa_tk.app:main" in scripts
    assert {"ofa_toolkit/py.typed", "ofa_tk/py.typed"} <= set(names)
    assert all(any(name.endswith(f"licenses/{file}") for name in names) for file in ("LICENSE", "NOTICE"))


def test_a_wheel_made_from_the_sdist_is_the_same(built: Path, tmp_path: Path) -> None:
    (archive_path,) = built.glob("*.tar.gz")
    with tarfile.open(archive_path) as archive:
        # Pythons from before 3.10.12 and 3.11.4 have no filters.
        filters: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path / "source", **filters)
    (source,) = (tmp_path / "source").iterdir()
    assert (source / "tests").is_dir()
    build(source, tmp_path / "dist", "wheel")
    assert wheel_names(tmp_path / "dist") == wheel_names(built)


def test_installed_package_finds_its_data(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, ofa_toolkit, ofa_tk\nfrom ofa_toolkit.core import resources\n"
        "print(json.dumps({'package': ofa_toolkit.__file__, 'cli': ofa_tk.__file__,"
        " 'paths': {kind: str(resources.data_path(kind)) for kind in resources.KINDS},"
        " 'entries': {kind: list(resources.entries(kind)) for kind in resources.KINDS}}))"
    )
    found = json.loads(run(installed, "-c", code, cwd=tmp_path))
    checkout = json.loads(run(ROOT, "-c", code, cwd=tmp_path))
    assert Path(found["package"]).is_relative_to(installed)
    assert Path(found["cli"]).is_relative_to(installed)
    for kind in DATA_FOLDERS:
        assert Path(found["paths"][kind]) == installed / "ofa_toolkit" / "_data" / kind
        assert Path(checkout["paths"][kind]) == ROOT / kind
    assert found["entries"] == checkout["entries"]


def test_every_module_of_the_wheel_can_be_imported(installed: Path, tmp_path: Path) -> None:
    """Optional packages (TensorRT) are imported when used, so their absence breaks no module."""
    code = (
        "import importlib, pkgutil, ofa_toolkit, ofa_tk\n"
        "walks = [pkgutil.walk_packages(p.__path__, p.__name__ + '.') for p in (ofa_toolkit, ofa_tk)]\n"
        # These programs go into a bundle and run from there; they are no modules of ours.
        "names = [m.name for walk in walks for m in walk]\n"
        "names = [name for name in names if '.export.kit.' not in name and not name.endswith('__main__')]\n"
        "[importlib.import_module(name) for name in names]\nprint(len(names))"
    )
    assert int(run(installed, "-c", code, cwd=tmp_path)) > 20


def test_help_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    assert "Commands:" in run(installed, "-m", "ofa_tk", "--help", cwd=tmp_path)

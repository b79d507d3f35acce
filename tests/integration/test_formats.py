"""Every other format by its real converter and runtime: `make test-formats`, where the packages are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ofa_tk.app import run
from ofa_toolkit.export.formats import FORMATS
from ofa_toolkit.export.formats.format import missing_packages
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet

pytestmark = pytest.mark.formats
CASES = [(name, precision) for name, form in FORMATS.items() for precision in form.precisions]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_converted_run_verified_and_timed(
    name: str,
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    form = FORMATS[name]
    if missing := missing_packages(form):
        pytest.skip(f"{missing[0]} is not installed")
    monkeypatch.chdir(tmp_path)
    space = get_space("mobilenet-v3-compact")
    write_subnet(
        "subnet.json", SubnetFile(space=space, supernet="deps-compact-cifar10", subnet=space.smallest())
    )
    command = ["export", "--format", name, "--precision", precision, "--json"]
    if precision == "int8":
        command += ["--data", _images(tmp_path), "--max-drop", "100"]
    capsys.readouterr()
    assert run(command) == 0
    document = json.loads(capsys.readouterr().out)
    comparison = document["metadata"]["comparison"]
    assert document["was_run"] == form.runs_here == bool(comparison)
    if precision == "fp32" and form.runs_here:
        assert comparison["max_relative_error"] < 1e-4
    assert run(["verify", f"subnet-{name}", "--json"]) == 0
    checks = {check["claim"]: check["status"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["outputs"] == ("passed" if form.runs_here else "not checked")
    assert run(["benchmark", f"subnet-{name}", "--runs", "5"]) == (0 if form.runs_here else 1)


def _images(folder: Path) -> str:
    """Images of ten classes by the supernet's names."""
    import numpy as np
    from PIL import Image

    from ofa_toolkit.zoo.supernet import load_supernet

    draw = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 12)):
        for name in load_supernet("deps-compact-cifar10").class_names:
            place = folder / "images" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(place / f"{number}.png")
    return f"imagefolder:{folder / 'images'}"

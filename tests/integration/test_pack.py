"""`ofa-tk export --front --pack`: weights once, and a runtime that runs beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ofa_tk.app import run
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.subnet_file import subnet_document

SPACE = get_space("mobilenet-v3-compact")


def test_from_a_front_to_a_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    members = [
        {**subnet_document(subnet), "top1_percent": 80.0 + cost, "costs": [cost], "predicted": {}}
        for cost, subnet in ((1.0, SPACE.smallest()), (3.0, SPACE.largest()))
    ]
    front = {
        "format": "ofa-toolkit/front",
        "version": 1,
        "space": SPACE.name,
        "supernet": "deps-compact-cifar10",
        "costs": ["macs"],
        "members": members,
        "search": {},
        "warnings": [],
    }
    Path("front.json").write_text(json.dumps(front))
    command = ["export", "--front", "front.json", "--pack", "pack", "--count", "2"]
    assert run([*command[:-1], "3"]) == 1
    assert "has 2 members" in capsys.readouterr().err
    assert run(command[:3]) == 2
    assert run([*command, "--precision", "fp16"]) == 2
    capsys.readouterr()
    assert run([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    largest = 4 * document["manifest"]["subnets"][-1]["params"]
    assert document["num_bytes"] <= 1.3 * largest
    np.save("picture.npy", np.zeros((40, 36, 3), np.uint8))
    words = [
        sys.executable,
        "pack/adaptive.py",
        "--deadline",
        "10s",
        "--log",
        "-",
        "picture.npy",
        "picture.npy",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.count("picture.npy: ") == 2
    assert [json.loads(line)["subnet"] for line in done.stderr.splitlines()] == ["subnet-1", "subnet-1"]

"""From a folder of photos to what is on them, where no connection to anything can be made."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

from ofa_tk.app import run

COLOURS = {"leaf": (40, 160, 60), "sky": (90, 150, 230), "brick": (170, 70, 50)}

COMMANDS = """
ofa-tk zoo list
ofa-tk data show imagefolder:photos
ofa-tk train --recipe own-photos --data imagefolder:photos --time 30s --out runs/mine
ofa-tk search --supernet runs/mine --macs 40M
ofa-tk export --onnx --data imagefolder:photos --target onnxruntime-cpu
ofa-tk export --bundle bundle --data imagefolder:photos --target onnxruntime-cpu
ofa-tk predict subnet.onnx photos/leaf
ofa-tk predict bundle photos/sky
"""


def _write_photos(folder: Path) -> None:
    noise = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(10):
            pixels = np.asarray(colour) + noise.normal(0, 40, (96, 96, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{index}.jpg")


@pytest.mark.slow
def test_from_photos_to_what_is_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any) -> NoReturn:
        raise AssertionError(f"connects to {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    _write_photos(tmp_path / "photos")
    for line in COMMANDS.strip().splitlines():
        code = run(shlex.split(line)[1:])
        printed = capfd.readouterr()
        assert code == 0, (line, printed.err)
    assert "sky" in printed.out

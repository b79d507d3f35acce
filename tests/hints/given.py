"""What the folder of a situation holds beforehand, by name. What takes long is made once and copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from ofa_tk.app import run

BUNDLED = "deps-compact-cifar10"

Make = Callable[[Path], None]


def typed(*words: str) -> None:
    """Run a command that has to succeed."""
    assert run([*words]) == 0, words


def _search(*limits: str) -> Make:
    return lambda _: typed("search", "--supernet", BUNDLED, *limits)


def _file(name: str, content: str | bytes) -> Make:
    def write(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def _changed_json(name: str, **changes: object) -> Make:
    def change(folder: Path) -> None:
        document = json.loads((folder / name).read_text(encoding="utf-8"))
        document.update(changes)
        (folder / name).write_text(json.dumps(document), encoding="utf-8")

    return change


FAKE = "fake:classes=10,size=32,train=300,test=40"
"""Made-up images with as many classes as the bundled supernet has."""


def _train(out: str) -> Make:
    words = f"train --recipe deps-compact-cifar10 --data {FAKE} --epochs 2 --out {out} --device cpu"
    words += " --set training.batch_size=64 --set validation.recalibration_images=64 --set tensorboard=false"
    return lambda _: typed(*words.split())


MAKERS: Mapping[str, Make] = {
    "a subnet": _search("--macs", "8M"),
    "a subnet for the nano": _search("--device", "jetson-nano", "--latency", "5ms"),
    "an ONNX file": lambda _: typed("export", "--onnx", "--target", "onnxruntime-cpu"),
    "a run": _train("runs/try"),
    "an empty object": _file("subnet.json", "{}"),
    "a front": _search("--macs", "8M", "--pareto", "front.json"),
}


def make(names: tuple[str, ...], folder: Path, kept: Path) -> None:
    """Make what a situation is given, from what was made before where it was."""
    done = kept
    for name in names:
        done = done / name
        if not done.is_dir():
            MAKERS[name](folder)
            shutil.copytree(folder, done)
        else:
            shutil.copytree(done, folder, dirs_exist_ok=True)

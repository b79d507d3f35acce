"""No file that may leave the machine holds an absolute path of it."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ofa_tk.app import run
from ofa_toolkit.core import resources


def parts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Files below a folder, and what is in archives."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield str(path.relative_to(folder)), path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{path.name}/{name}", archive.read(name)) for name in archive.namelist())


def write_images(path: Path) -> None:
    stream = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 60), ("test", 20)):
        arrays[f"{split}_images"] = stream.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 10
    np.savez(path, **arrays)


def test_files_that_leave_the_machine_hold_no_place_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, out = tmp_path / "secret-folder", tmp_path / "out"
    for folder in (own, out):
        folder.mkdir()
    monkeypatch.chdir("/")  # from where no relative way leads there without a name of this machine
    supernet, subnet, trained = own / "net", str(own / "sub.json"), own / "run"
    tuned = str(trained / "subnet.json")
    shutil.copytree(resources.data_path("zoo") / "deps-compact-cifar10", supernet)
    write_images(own / "x.npz")
    data = f"npz:{own / 'x.npz'}"
    lines = [
        ["search", "--supernet", str(supernet), "--macs", "5M", "--out", subnet],
        [
            *("finetune", "--subnet", subnet, "--data", data, "--out", str(trained)),
            *("--epochs", "1", "--set", "training.batch_size=24"),
        ],
        [
            *("export", "--subnet", tuned, "--data", data, "--target", "tensorrt-10.0"),
            *("--onnx", str(out / "net.onnx"), "--bundle", str(out / "bundle")),
        ],
        ["extract", "--subnet", subnet, "--out", str(out / "torch"), "--keep-batchnorm"],
        ["extract", "--subnet", subnet, "--out", str(out / "official"), "--layout", "official"],
        ["zoo", "package", str(trained), "--name", "mine", "--out", str(out / "package")],
        [
            *("latency", "kit", "build", "--space", "mobilenet-v3-compact", "--target", "onnxruntime-cpu"),
            *("--num-probes", "4", "--out", str(out / "kit.zip")),
        ],
    ]
    proposed: list[str] = []
    for line in lines:
        code, printed = run(line), capsys.readouterr()
        assert code == 0, (line, printed.err)
        if line[0] == "export":
            proposed = printed.err.rpartition("Next: ofa-tk ")[2].split()
    shutil.copytree(trained / "supernet", out / "supernet")
    assert [name for name, content in parts(out) if str(own).encode() in content] == []
    assert sum(b"npz:x.npz" in content for _, content in parts(out)) >= 3
    # What the file no longer says, the proposed command does.
    assert proposed == ["verify", str(out / "net.onnx"), "--supernet", str(trained), "--data", data]
    assert run(proposed) == 0
    claims = capsys.readouterr().out.splitlines()
    for claim in ("supernet ", "weights from the supernet ", "outputs "):
        assert [line for line in claims if line.startswith(claim) and " passed " in line], claim

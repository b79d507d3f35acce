"""ncnn from the ONNX file by pnnx: for phones and small Arm boards, also by Vulkan."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ofa_toolkit.core.errors import ExportError, VerificationError
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.ends import Ends
from ofa_toolkit.export.formats.format import Array, FormatSource, Runner, refuse_ends

_INPUT, _OUTPUT = "in0", "out0"


@dataclass
class Ncnn:
    """Weights of fp16 files are stored in half precision. Its 8-bit tools are not in its packages."""

    name: str = "ncnn"
    title: str = "ncnn"
    extra: str = "ncnn"
    packages: tuple[str, ...] = ("pnnx", "ncnn")
    suffix: str = ".param"
    precisions: tuple[FilePrecision, ...] = ("fp32", "fp16")
    reads_quantised: bool = False
    runtime: str = "ncnn"
    runs_here: bool = True

    def check(self, ends: Ends) -> None:
        """Normalised images and one output: pixels are normalised by `substract_mean_normalize` there."""
        if ends.takes_pixels or ends.layout != "NCHW" or ends.output == "topk":
            raise refuse_ends(self, "take normalised images in NCHW and give logits or probabilities")

    def write(self, source: FormatSource, path: Path) -> None:
        """Write the graph, and its weights beside it as `.bin`."""
        if len(source.example) != 1:
            raise ExportError("ncnn files take one image a run.", hint="--batch-size 1")
        shape = ",".join(str(length) for length in source.example.shape)
        with tempfile.TemporaryDirectory(prefix="ofa-tk-") as folder:
            onnx.save(source.model, Path(folder, "model.onnx"))
            half = int(source.precision == "fp16")
            words = [_program(), "model.onnx", f"inputshape=[{shape}]", f"fp16={half}"]
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
            made = [Path(folder, f"model.ncnn.{kind}") for kind in ("param", "bin")]
            if done.returncode or not all(file.is_file() for file in made):
                last = (done.stderr or done.stdout).strip().splitlines()[-1:]
                raise ExportError(f"pnnx cannot convert the network: {' '.join(last) or done.returncode}.")
            shutil.copyfile(made[0], path)
            shutil.copyfile(made[1], path.with_suffix(".bin"))

    def open(self, path: Path, num_threads: int) -> Runner:
        """On the processor, in single precision."""
        import ncnn

        net: Any = ncnn.Net()
        net.opt.num_threads = num_threads
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(net.opt, f"use_{name}", False)
        if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
            raise VerificationError(f"ncnn cannot load '{path}'.")

        def run(images: Array) -> list[Array]:
            extractor = net.create_extractor()
            extractor.input(_INPUT, ncnn.Mat(images[0]).clone())
            failed, found = extractor.extract(_OUTPUT)
            if failed:
                raise VerificationError(f"ncnn cannot run '{path}': {failed}.")
            return [np.array(found)[None]]

        return run


def _program() -> str:
    """The converter that the package brings along."""
    beside = Path(sysconfig.get_path("scripts")) / "pnnx"
    found = str(beside) if beside.is_file() else shutil.which("pnnx")
    if found is None:
        raise ExportError(
            "The program pnnx is not where its package puts it.", hint="pip install --force-reinstall pnnx"
        )
    return found


NCNN = Ncnn()

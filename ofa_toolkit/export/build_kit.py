"""A folder that builds and checks the engine where TensorRT is: network, commands, and a check script."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.core.output_folder import output_folder
from ofa_toolkit.export.exporter import FileForm
from ofa_toolkit.export.kit import check as check_script
from ofa_toolkit.export.tensorrt import promised_layers
from ofa_toolkit.export.trtexec import INPUT, MODEL, Commands, commands, has_inspector, versions

FORMAT = FileFormat("ofa-toolkit/build-kit", 2, "a TensorRT build kit")
KIND = "TensorRT build kit"

Images = npt.NDArray[np.float32]


def write_build_kit(
    folder: Path,
    model: onnx.ModelProto,
    form: FileForm,
    images: npt.NDArray[Any],
    expected: Images,
    *,
    replace: bool = False,
    force: bool = False,
) -> Commands:
    """Write a kit.

    Args:
        folder: As `output_folder` allows.
        model: The exported model.
        form: Target, precision and batch size of the file.
        images: One input of the engine, of its type and layout.
        expected: The outputs of the fp32 network for it, `(N, classes)`.
        replace: Replace an older kit.
        force: Replace any former output of ours.

    Returns:
        The commands the kit runs.

    Raises:
        OutputError: The folder holds something that may not be replaced, or cannot be written.
    """
    row = form.target.generation
    [source] = model.graph.input
    lines = commands(form, source.name, images.shape[1:])
    contents = {
        MODEL: model.SerializeToString(),
        INPUT: images.astype(images.dtype.newbyteorder("<"), order="C").tobytes(),
        "check.py": Path(check_script.__file__).read_bytes(),
    }
    low, high = versions(row)
    description = {
        **FORMAT.header,
        "target": form.target.name,
        "generation": row.name,
        "trtexec_versions": [list(low), None if high is None else list(high)],
        "precision": form.precision,
        "batch_size": form.batch_size,
        "has_inspector": has_inspector(row),
        "builder_chooses": row.precision_flags,
        "layers": promised_layers(model, form.precision),
        "build": list(lines.build),
        "run": list(lines.run),
        "expected": [float(value) for value in expected.ravel()],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    contents["kit.json"] = (json.dumps(description, indent=2) + "\n").encode()
    contents["build.sh"] = f"#!/bin/sh\nset -e\n{_shell(lines)}\n".encode()
    contents["README.md"] = _readme(form, lines).encode()
    with output_folder(folder, KIND, replace=replace, force=force) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
    return lines


def _shell(lines: Commands) -> str:
    return " \\\n  ".join(["trtexec", *lines.build])


def _readme(form: FileForm, lines: Commands) -> str:
    target, row = form.target, form.target.generation
    defaults = (
        "trtexec of TensorRT 11 times with CUDA graphs and without copies by default; up to TensorRT 10 the "
        "line asks for the same with flags. Compare times across that border only between equal lines."
    )
    promise = (
        f"This TensorRT chooses types by speed: layers wider than {form.precision} are named, and more than "
        f"{check_script.MOST_WIDER_PERCENT:g} % of the MACs in them is an error."
        if row.precision_flags
        else f"A layer that is not in {form.precision} is an error."
    )
    if form.precision == "int8":
        promise += " Squeeze-excite is in floating point."
    return f"""# TensorRT engine for {target.title}

`{MODEL}` is written for {row.name} in {form.precision}. Engines run only on the kind of GPU and the TensorRT
they were built with, so this one is built on the board. Copy the folder there and run:

    python3 check.py

Needs Python 3.6 and TensorRT's own `trtexec`, nothing else. It builds the engine, looks up what each
convolution and linear layer computes in, compares the outputs for `{INPUT}` with those of the fp32 network,
and prints the times. {promise} No GPU was present where this kit was written: nothing here has been timed.

The line it runs, also in `build.sh`:

    {_shell(lines)}

{defaults}
"""

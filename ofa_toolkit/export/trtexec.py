"""The exact `trtexec` lines for each TensorRT generation.

Sources: CHANGELOG.md of github.com/NVIDIA/TensorRT (8.2.0 EA: `--explicitBatch` has no effect any more,
`--profilingVerbosity`; 8.4: `--memPoolSize`), samples/common/sampleOptions.cpp of its release branches, and
the trtexec migration pages 8.x to 10.x and 10.x to 11.x of the TensorRT documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ofa_toolkit.export.exporter import FileForm
from ofa_toolkit.export.targets import TENSORRT_GENERATIONS, Generation
from ofa_toolkit.tensorrt.engine import LARGEST_DYNAMIC_BATCH

MODEL, ENGINE, LAYERS = "model.onnx", "model.engine", "layers.json"
INPUT, OUTPUTS, TIMING_CACHE = "input.bin", "outputs.json", "timing.cache"

_INSPECTOR, _TIMING_CACHE, _POOLS, _STRONGLY_TYPED = (8, 2), (8, 0), (8, 4), (11, 0)
_EXPLICIT_BATCH_NEEDED_BEFORE = (8, 2)


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Arguments after `trtexec`, run in the kit's folder.

    Attributes:
        build: Build the engine, say what its layers are, and time it.
        run: Run the engine on the kit's input and write the outputs.
    """

    build: tuple[str, ...]
    run: tuple[str, ...]


def has_inspector(row: Generation) -> bool:
    """Whether trtexec of a generation tells what an engine consists of."""
    return row.since >= _INSPECTOR


def versions(row: Generation) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """First version of a generation, and the first one after it."""
    later = [other.since for other in TENSORRT_GENERATIONS if other.since > row.since]
    return row.since, min(later, default=None)


def commands(form: FileForm, input_name: str, shape: Sequence[int]) -> Commands:
    """The lines for a form of a network.

    The same is timed everywhere: CUDA graphs, no copies between host and device, single precision without
    TF32. Up to TensorRT 10 these are flags; from 11 on the first two are trtexec's defaults and the flags
    are deprecated.
    """
    row = form.target.generation
    size = "x".join(str(length) for length in shape)
    shapes = _shapes(form, input_name, size)
    build = [f"--onnx={MODEL}", f"--saveEngine={ENGINE}"]
    if row.since < _EXPLICIT_BATCH_NEEDED_BEFORE:
        build.append("--explicitBatch")
    workspace = form.target.workspace_mib
    build.append(
        f"--memPoolSize=workspace:{workspace}" if row.since >= _POOLS else f"--workspace={workspace}"
    )
    build += shapes
    if form.precision == "fp32":
        build.append("--noTF32")
    elif row.precision_flags:
        # What is not quantised in int8 should not fall back to single precision.
        if form.precision == "int8" and form.target.supports("fp16") is not False:
            build.append("--fp16")
        build.append(f"--{form.precision}")
    if has_inspector(row):
        build += ["--profilingVerbosity=detailed", f"--exportLayerInfo={LAYERS}"]
    if row.since >= _TIMING_CACHE:
        build.append(f"--timingCacheFile={TIMING_CACHE}")
        if row.since < _STRONGLY_TYPED:
            build += ["--useCudaGraph", "--noDataTransfers"]
    build += ["--useSpinWait", "--warmUp=500", "--duration=5", "--iterations=100"]
    run = [
        f"--loadEngine={ENGINE}",
        f"--loadInputs={input_name}:{INPUT}",
        f"--exportOutput={OUTPUTS}",
        "--warmUp=0",
        "--duration=0",
        "--iterations=1",
    ]
    if shapes:
        run.append(f"--shapes={input_name}:1x{size}")
    if row.since >= _STRONGLY_TYPED:
        run.append("--includeDataTransfers")
    return Commands(build=tuple(build), run=tuple(run))


def _shapes(form: FileForm, input_name: str, size: str) -> list[str]:
    if form.batch_size is not None:
        return []
    bounds = {"min": 1, "opt": LARGEST_DYNAMIC_BATCH // 4, "max": LARGEST_DYNAMIC_BATCH}
    return [f"--{name}Shapes={input_name}:{n}x{size}" for name, n in bounds.items()]

"""A TensorRT engine of an exported network where TensorRT is, elsewhere a kit that builds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import MissingDependencyError, VerificationError
from ofa_toolkit.core.resources import cache_path
from ofa_toolkit.export.build_kit import write_build_kit
from ofa_toolkit.export.comparison import run_network
from ofa_toolkit.export.file_values import file_input, scores_of_network
from ofa_toolkit.export.kit.check import LIMITS
from ofa_toolkit.export.tensorrt import build_engine
from ofa_toolkit.export.trtexec import ENGINE
from ofa_toolkit.pipelines.export.onnx_file import Exported
from ofa_toolkit.pipelines.export.plan import check_runs_tensorrt
from ofa_toolkit.tensorrt.engine import (
    DeviceMemory,
    EngineOptions,
    EngineRunner,
    TorchMemory,
    find_tensorrt,
)

DEFAULT_ENGINE = Path("subnet.engine")


@dataclass(frozen=True, kw_only=True)
class TensorRtOutcome:
    """An engine, or the kit to build it.

    Attributes:
        engine: The engine's file, or None.
        kit: The kit's folder, or None.
        version: TensorRT that built the engine.
        layers: Numbers of its layers with weights by precision, in words.
        max_relative_error: Error of its outputs, relative to the network's largest logit.
        median_ms: GPU time of one run.
        p90_ms: Slowest of nine in ten.
        reason: Why there is a kit and no engine.
        command: The command that the kit runs.
    """

    engine: Path | None = None
    kit: Path | None = None
    version: str | None = None
    layers: str | None = None
    max_relative_error: float | None = None
    median_ms: float | None = None
    p90_ms: float | None = None
    reason: str | None = None
    command: str | None = None

    def fields(self) -> dict[str, object]:
        """For printing."""
        if self.kit is not None:
            return {"build kit": self.kit, "why no engine": self.reason, "it runs": self.command}
        return {
            "engine": f"{self.engine} (TensorRT {self.version})",
            "engine's layers": self.layers,
            "engine's outputs": f"differ by {self.max_relative_error:.1e} of the largest logit",
            "GPU time": f"median {self.median_ms:.3f} ms, p90 {self.p90_ms:.3f} ms, no copies",
        }

    def next_command(self) -> str:
        """What to type next."""
        if self.kit is not None:
            return f"copy {self.kit} to the device and run there: python3 check.py"
        return f"trtexec --loadEngine={self.engine}"


def export_tensorrt(
    exported: Exported, engine: Path, *, replace: bool = False, force: bool = False
) -> TensorRtOutcome:
    """Build an engine, or write the kit `<engine>-kit` where TensorRT or a GPU is missing.

    Args:
        exported: The network, for a TensorRT target.
        engine: File of the engine; its stem names the kit.
        replace: Replace an older kit.
        force: Replace an engine, and any former output of ours where the kit goes.

    Raises:
        ExportError: The target does not run TensorRT.
        EngineError: The engine cannot be built.
        VerificationError: The engine does not keep its promises; it is not written.
    """
    check_runs_tensorrt(exported.form.target)
    try:
        library = find_tensorrt("run the build kit on the device.")
    except MissingDependencyError as error:
        return _kit(exported, kit_folder(engine), error.message, replace=replace, force=force)
    files.check_output(engine, is_default=False, force=force)
    outcome, plan = build_and_check(exported, library, TorchMemory())
    files.write_bytes(engine, plan)
    return TensorRtOutcome(**{**outcome, "engine": engine})


def kit_folder(engine: Path) -> Path:
    """The folder of the build kit that stands in for an engine."""
    return engine.with_name(f"{engine.stem}-kit")


def build_and_check(exported: Exported, library: Any, memory: DeviceMemory) -> tuple[dict[str, Any], bytes]:
    """Build an engine, look into it, compare its outputs with the network's, and time it.

    Args:
        exported: The network.
        library: The `tensorrt` package.
        memory: Buffers on the device.

    Returns:
        Figures for `TensorRtOutcome`, and the engine.

    Raises:
        EngineError: TensorRT cannot parse or build it.
        VerificationError: The precision or the outputs are not what was promised.
    """
    precision = exported.form.precision
    options = EngineOptions(
        precision=precision,
        workspace_mib=exported.form.target.workspace_mib,
        timing_cache=cache_path() / "tensorrt" / "timing.cache",
    )
    engine = build_engine(library, exported.content, options)
    images, expected = _one_batch(exported)
    runner = EngineRunner(library, engine.plan, memory)
    found = runner.run(images)
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error <= LIMITS[precision]:
        raise VerificationError(
            f"The engine's outputs differ from the network's by {error:.1e} of the largest logit; "
            f"{precision} allows {LIMITS[precision]:.0e}."
        )
    times = runner.time(images)
    figures = {
        "version": engine.version,
        "layers": engine.layers,
        "max_relative_error": error,
        "median_ms": float(np.median(times)),
        "p90_ms": float(np.quantile(times, 0.9)),
    }
    return figures, engine.plan


def _kit(exported: Exported, folder: Path, reason: str, *, replace: bool, force: bool) -> TensorRtOutcome:
    images, expected = _one_batch(exported)
    lines = write_build_kit(
        folder, exported.model, exported.form, images, expected, replace=replace, force=force
    )
    return TensorRtOutcome(
        kit=folder, reason=reason, command=f"trtexec {' '.join(lines.build)}  # writes {ENGINE}"
    )


def _one_batch(exported: Exported) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, np.dtype[np.float32]]]:
    """An input of the engine from the images the file was compared on, and what the network gives for it."""
    size = exported.form.batch_size or 1
    images = next(iter(exported.check.batches()))[0]
    repeats = -(-size // len(images))
    batch = np.ascontiguousarray(np.concatenate([images] * repeats)[:size])
    ends, logits = exported.metadata.ends, run_network(exported.network.network, batch)
    given = file_input(batch, ends, exported.metadata.preprocessing)
    return given, scores_of_network(logits, ends)

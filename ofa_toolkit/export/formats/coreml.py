"""Core ML packages for Apple's systems, which alone can run them."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_toolkit.core.errors import VerificationError
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.ends import Ends
from ofa_toolkit.export.formats.format import Array, FormatSource, Runner, refuse_ends


@dataclass
class CoreMl:
    """An ML program for iOS 15 and macOS 12 on. Where it cannot be run it is checked in structure."""

    name: str = "coreml"
    title: str = "Core ML"
    extra: str = "coreml"
    packages: tuple[str, ...] = ("coremltools",)
    suffix: str = ".mlpackage"
    precisions: tuple[FilePrecision, ...] = ("fp32", "fp16")
    reads_quantised: bool = False
    runtime: str = "coreml"
    runs_here: bool = platform.system() == "Darwin"

    def check(self, ends: Ends) -> None:
        """Core ML takes no bytes but as its own image type."""
        if ends.takes_pixels or ends.output == "topk":
            raise refuse_ends(self, "take normalised images and give logits or probabilities")

    def write(self, source: FormatSource, path: Path) -> None:
        """Write the package and look into what was written."""
        import coremltools
        import torch

        program = torch.export.export(source.network, (torch.from_numpy(source.example),))
        precision = coremltools.precision
        made: Any = coremltools.convert(
            program.run_decompositions({}),
            inputs=[coremltools.TensorType(name="input", shape=source.example.shape)],
            minimum_deployment_target=coremltools.target.iOS15,
            compute_precision=precision.FLOAT16 if source.precision == "fp16" else precision.FLOAT32,
        )
        described = made.get_spec().description
        [given], [_] = described.input, described.output
        shape = tuple(given.type.multiArrayType.shape)
        if shape != source.example.shape:
            raise VerificationError(f"The Core ML program takes {shape}, not {source.example.shape}.")
        made.save(str(path))

    def open(self, path: Path, num_threads: int) -> Runner:
        """On a Mac; what runs it is the system's choice."""
        del num_threads
        import coremltools

        model: Any = coremltools.models.MLModel(str(path))

        def run(images: Array) -> list[Array]:
            return list(model.predict({"input": images}).values())

        return run


COREML = CoreMl()

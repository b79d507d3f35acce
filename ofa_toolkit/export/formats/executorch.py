"""ExecuTorch programs for processors, by XNNPACK."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.ends import Ends
from ofa_toolkit.export.formats.format import Array, FormatSource, Runner, refuse_ends


@dataclass
class ExecuTorch:
    """In single precision alone: half precision and 8 bits would be another network than the checked one."""

    name: str = "executorch"
    title: str = "ExecuTorch"
    extra: str = "executorch"
    packages: tuple[str, ...] = ("executorch",)
    suffix: str = ".pte"
    precisions: tuple[FilePrecision, ...] = ("fp32",)
    reads_quantised: bool = False
    runtime: str = "executorch"
    runs_here: bool = True

    def check(self, ends: Ends) -> None:
        """All but the likeliest classes, for which XNNPACK has no operator."""
        if ends.output == "topk":
            raise refuse_ends(self, "give logits or probabilities")

    def write(self, source: FormatSource, path: Path) -> None:
        """Write the program."""
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.export(source.network, (torch.from_numpy(source.example),))
        lowered: Any = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(lowered.to_executorch().buffer)

    def open(self, path: Path, num_threads: int) -> Runner:
        """On the processor; the number of threads is that of the whole process."""
        import torch
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        portable_lib._unsafe_reset_threadpool(num_threads)

        method: Any = Runtime.get().load_program(path).load_method("forward")

        def run(images: Array) -> list[Array]:
            return [output.numpy() for output in method.execute([torch.from_numpy(images)])]

        return run


EXECUTORCH = ExecuTorch()

"""ExecuTorch programs for processors, by XNNPACK."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.ends import Ends
from ofa_toolkit.export.formats.format import Array, FormatSource, Runner, refuse_ends

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram


@dataclass
class ExecuTorch:
    """Files of fp16 compute in half precision; XNNPACK stores their weights in single precision all the same.

    int8 is quantised by PT2E: weights per channel, activations by their extremes on the calibration images.
    """

    name: str = "executorch"
    title: str = "ExecuTorch"
    extra: str = "executorch"
    packages: tuple[str, ...] = ("executorch", "torchao")
    suffix: str = ".pte"
    precisions: tuple[FilePrecision, ...] = ("fp32", "fp16", "int8")
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

        from ofa_toolkit.export.formats.network import in_half

        network = in_half(source.network) if source.precision == "fp16" else source.network
        example = (torch.from_numpy(source.example),)
        program = torch.export.export(network, example)
        if source.precision == "int8":
            program = torch.export.export(_quantised(program, source), example)
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


def _quantised(program: ExportedProgram, source: FormatSource) -> nn.Module:
    """The network with its ranges found and its operations in 8 bits."""
    import torch
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
    from torchao.quantization.pt2e import quantize_pt2e

    quantizer = xnnpack_quantizer.XNNPACKQuantizer()
    quantizer.set_global(xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True))
    prepared: Any = quantize_pt2e.prepare_pt2e(program.module(), quantizer)
    with torch.inference_mode():
        for images in source.calibration:
            prepared(torch.from_numpy(images))
    quantised: nn.Module = quantize_pt2e.convert_pt2e(prepared)
    return quantised


EXECUTORCH = ExecuTorch()

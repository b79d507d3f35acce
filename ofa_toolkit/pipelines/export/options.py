"""How a subnet is exported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.ends import Layout
from ofa_toolkit.export.quantization import CalibrationMethod
from ofa_toolkit.export.target_devices import Target


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How to export.

    Attributes:
        target: The target or its name; the device searched for where None.
        precision: Arithmetic of the file; where None that which the target's latency was predicted for, else
            fp32.
        batch_size: Images a run; None for any number.
        data: Images for batch-norm statistics, 8-bit ranges and the comparison; None for what the supernet
            carries, and synthetic inputs.
        keep_batchnorm: Keep the supernet's batch-norm statistics; a single network always keeps its own.
        max_accuracy_drop: Points of top-1 a file may lose, in place of its precision's limit.
        method: How 8-bit ranges are found.
        engine: Whether a TensorRT engine is to be built of the file; refused early where the target has none.
        tables: Further folders of devices.
        resolution: Input size in pixels, in place of the subnet's.
        pixels: Whether the file takes pixels 0 to 255, as bytes where the target reads them, and scales and
            normalises them itself.
        layout: Of the input.
        runtime: What will execute the network, as device files call it; None for the target's own.
        output: `logits`, `probabilities` or `topk=K`, see `Ends`.
    """

    target: str | Target | None = None
    precision: FilePrecision | None = None
    batch_size: int | None = 1
    data: str | None = None
    keep_batchnorm: bool = False
    max_accuracy_drop: float | None = None
    method: CalibrationMethod = "minmax"
    engine: bool = False
    tables: tuple[Path, ...] = field(default=())
    resolution: int | None = None
    pixels: bool = False
    layout: Layout = "NCHW"
    output: str = "logits"
    runtime: str | None = None

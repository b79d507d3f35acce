"""How a subnet is exported or cut out: parameters in Python, options of `ofa-tk export` and `extract`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.core.requests import Flag, Option
from ofa_toolkit.export.choices import CalibrationMethod, Layout
from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.spaces.subnet_file import SubnetLike
from ofa_toolkit.zoo.supernet import SupernetLike

_Resolution = Annotated[int | None, Bounds(at_least=1, at_most=4096), Option(metavar="PIXELS")]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How to export."""

    resolution: _Resolution = None
    "Input size. Default: what the file says."
    target: Annotated[str | Target | None, Option(metavar="DEVICE")] = None
    "Device or parser that the file is for. Default: the device of the search."
    precision: Annotated[FilePrecision | None, Option()] = None
    "Arithmetic. Default: what the target's latency was predicted for, else fp32. Int8 needs --data."
    batch_size: Annotated[int | None, Bounds(at_least=1), Option()] = 1
    "Images that a run of the file takes."
    data: Annotated[str | None, Option(metavar="SOURCE")] = None
    "Images for batch-norm statistics, int8 ranges and the comparison, such as imagefolder:DIR."
    keep_batchnorm: Flag = False
    "Keep the supernet's batch-norm statistics, which fit no subnet."
    method: Annotated[CalibrationMethod, Option(name="--calibration")] = "minmax"
    "How the ranges of int8 values are found from the calibration images."
    max_accuracy_drop: Annotated[float | None, Bounds(at_least=0), Option(name="--max-drop")] = None
    "Points of top-1 fp16 or int8 may lose."
    tables: Annotated[tuple[Path, ...], Option(metavar="DIR", path="input folder", is_repeatable=True)] = ()
    "A further folder of latency tables."
    engine: bool = False
    "Whether a TensorRT engine is to be built of the file; refused early where the target has none."
    pixels: bool = False
    """Whether the file takes pixels 0 to 255, as bytes where the target reads them, and scales and normalises
    them itself."""
    layout: Layout = "NCHW"
    "Order of the input's axes."
    output: str = "logits"
    """`logits`, `probabilities`, `topk=K`, or `features` for a network without its classifier, which gives
    its maps at strides 8, 16 and 32; see `Ends`."""
    runtime: str | None = None
    "Software that will execute the network, as device files name it; None for the target's own."


@dataclass(frozen=True)
class VerifyRequest:
    """An exported file or folder, and where to find what it was made from."""

    file: Annotated[str | Path, Option(is_argument=True)]
    "What `export_onnx` or `export_format` wrote."
    _: KW_ONLY
    supernet: Annotated[SupernetLike | None, Option(metavar="NAME|DIR")] = None
    "Where the supernet is, if not where the file says."
    data: Annotated[str | None, Option(metavar="SOURCE")] = None
    "Images, if not those the file names."
    tables: Annotated[tuple[Path, ...], Option(metavar="DIR", path="input folder", is_repeatable=True)] = ()
    "A further folder of latency tables."
    reporter: Reporter = SILENT
    "Hears what is being done."


@dataclass(frozen=True)
class ExtractRequest:
    """What to cut out, and how it is written."""

    subnet: SubnetLike | None = None
    "Subnet to cut out, given as for `export_onnx`."
    folder: str | Path = "network"
    "New, empty, or a former output; foreign files in it stay."
    supernet: SupernetLike | None = None
    "Name or folder of the supernet; the one searched where None."
    resolution: _Resolution = None
    "Input size. Default: what the file says."
    keep_batchnorm: Flag = False
    "Keep the supernet's batch-norm statistics, which fit no subnet."
    data: Annotated[str | None, Option(metavar="SOURCE")] = None
    "Images for batch-norm statistics, such as imagefolder:DIR. Default: those the supernet carries."
    layout: Annotated[Literal["torch", "official"], Option()] = "torch"
    "torch: a program and weights; official: net.config and init of the once-for-all repositories."
    features: Flag = False
    "Leave the classifier out: maps at strides 8, 16, 32, for detection."
    replace: bool = True
    "Replace a network extracted before."
    force: Flag = False
    "Replace any former output of ours, changed since or not."

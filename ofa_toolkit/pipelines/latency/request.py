"""What a user asks for measurements and their tables: parameters in Python, options of `ofa-tk latency`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.core.precision import FilePrecision, Precision
from ofa_toolkit.core.requests import Flag, Option, Positive, Seed
from ofa_toolkit.latency.device import Kind
from ofa_toolkit.latency.importing.measurements import Conditions
from ofa_toolkit.latency.kit.ssh import Board
from ofa_toolkit.latency.measuring.effort import Effort
from ofa_toolkit.latency.runtimes.runtime import RuntimeOptions

BackEndName = Literal["trtexec", "onnxruntime"]
Provider = Literal["cpu", "cuda", "tensorrt"]
OWN = "own measurements"

_NumClasses = Annotated[int | None, Bounds(at_least=1), Option(name="--classes")]
_NumProbes = Annotated[int, Bounds(at_least=3), Option(name="--probes --num-probes")]
_OwnTables = Annotated[Path | None, Option(name="--tables", metavar="DIR", path="folder")]
_Tables = Annotated[tuple[Path, ...], Option(metavar="DIR", path="input folder", is_repeatable=True)]
_Space = Annotated[str | None, Option(name="--space", metavar="NAME|FILE.toml")]


@dataclass(frozen=True, kw_only=True)
class MeasureRequest:
    """What to measure here and where to file it."""

    space: Annotated[str, Option(metavar="NAME|FILE.toml")]
    "Search space to cover."
    runtime: Annotated[str, Option(metavar="NAME")] = "onnxruntime"
    "Runtime that executes the networks."
    device: Annotated[str, Option(metavar="NAME")] = "this-cpu"
    "Name of the device to file the table under."
    options: RuntimeOptions = field(default_factory=RuntimeOptions)
    "Processor, threads, batch size, precision."
    num_classes: _NumClasses = None
    "Outputs of the classifier. Default: the space's."
    resolutions: Annotated[tuple[int, ...] | None, Option(metavar="LIST")] = None
    "Input sizes in pixels to cover, as in 160,192,224. Default: all."
    num_fit: Annotated[int, Bounds(at_least=0), Option(name="--fit-networks")] = 60
    "Whole subnets the correction is fitted on."
    num_check: Annotated[int, Bounds(at_least=3), Option(name="--check-networks")] = 50
    "Other subnets that tell the error; 500 and more give --confidence bounds."
    effort: Effort = field(default_factory=Effort)
    "How long the networks are timed."
    folder: _OwnTables = None
    "Folder of devices to write to. Default: your own."
    is_restart: Annotated[bool, Option(name="--restart")] = False
    "Throw away what an interrupted run left."
    seed: Seed = 0
    "Seed of the networks that are drawn."

    def __post_init__(self) -> None:
        if self.num_fit < 0 or self.num_check < 3:
            raise MeasurementError("At least 3 networks are needed to check the table.")


@dataclass(frozen=True, kw_only=True)
class KitRequest:
    """What a kit measures, and for which target."""

    target: Annotated[str, Option(metavar="NAME")]
    "Device, or software such as tensorrt-8.2."
    space: _Space = None
    "Search space of the networks."
    probes: Annotated[Path | None, Option(metavar="FILE", path="file")] = None
    "Time the networks of a file of `latency calibrate --plan` instead."
    num_probes: Annotated[int | None, Bounds(at_least=3), Option()] = None
    "Networks to time. Default: 40, or all of a file."
    precision: Annotated[FilePrecision | None, Option()] = None
    "Timed by default. Default: fp16 where the target has it."
    batch_size: Positive = 1
    "Images in a run of the network."
    num_classes: _NumClasses = None
    "Outputs of the classifier. Default: the space's."
    has_typed_networks: Annotated[bool, Option(name="--typed")] = False
    "Also pack fp16 networks, for TensorRT 11 on an older target."
    out: Annotated[Path, Option(metavar="PATH")] = Path("kit.zip")
    "File to write the kit to."
    force: Flag = False
    "Replace an existing file."
    seed: Seed = 0
    "Seed of the networks that are drawn."
    tables: _Tables = ()
    "A further folder of latency tables."


@dataclass(frozen=True, kw_only=True)
class CalibrationRequest:
    """A few measured networks of a device, and what the device is."""

    probes: Annotated[Path | None, Option(metavar="[PROBES.JSON]", is_argument=True)] = None
    "Probes file with the measured times filled in."
    space: _Space = None
    "Search space, for --plan and --samples."
    device: Annotated[str | None, Option(metavar="NAME")] = None
    "Name of your device, such as my-board."
    title: Annotated[str | None, Option(metavar="TEXT")] = None
    "Name of the device as people write it."
    chip: Annotated[str | None, Option(metavar="TEXT")] = None
    "Processor of the device."
    kind: Annotated[Kind | None, Option()] = None
    "What it is. Default: as it is known, else embedded-gpu."
    runtime: Annotated[str | None, Option(metavar="NAME")] = None
    "What executed the networks, such as tensorrt."
    precision: Annotated[Precision | None, Option()] = None
    "Arithmetic of the networks that were timed."
    batch_size: Positive = 1
    "Images in a run of the networks that were timed."
    like: Annotated[tuple[str, ...], Option(metavar="DEVICE[:VARIANT]", is_repeatable=True)] = ()
    "Known device whose table is the start of this one."
    exclude: Annotated[tuple[str, ...], Option(metavar="DEVICE", is_repeatable=True)] = ()
    "Known device that is left out as a start."
    out: Annotated[Path | None, Option(metavar="PATH")] = None
    "File of the plan, or folder of the device, to write."
    force: Flag = False
    "Replace an existing file, or a table of the same name."
    seed: Seed = 0
    "Seed of the fit."
    tables: _Tables = ()
    "A further folder of latency tables."


@dataclass(frozen=True, kw_only=True)
class BoardRequest:
    """What to measure on which board."""

    board: Board
    "How the board is reached."
    space: Annotated[str, Option(metavar="NAME|FILE.toml")] = "ofa-mobilenet-v3-w1.0"
    "Search space of the networks."
    device: Annotated[str | None, Option(metavar="NAME")] = None
    "Name to file the table under. Default: what the board says it is."
    back_end: Annotated[BackEndName | None, Option(name="--runtime")] = None
    "What times the networks. Default: trtexec where it is found."
    num_probes: _NumProbes = 40
    "Networks to time."
    precision: Annotated[FilePrecision | None, Option()] = None
    "Arithmetic. Default: fp16 with trtexec, fp32 with onnxruntime."
    num_classes: _NumClasses = None
    "Outputs of the classifier. Default: the space's."
    threads: Positive = 1
    "Threads of onnxruntime."
    python: Annotated[str, Option(metavar="PATH")] = "python3"
    "Command that starts Python on the board."
    trtexec: Annotated[str | None, Option(metavar="PATH")] = None
    "trtexec on the board, where it is not found."
    patience: Annotated[int, Bounds(at_least=0), Option(metavar="MINUTES")] = 30
    "How long to wait for a board that went away."
    out: Annotated[Path, Option(metavar="PATH")] = Path("results.jsonl")
    "File to write the results to."
    tables: _OwnTables = None
    "Folder of devices to write to. Default: your own."
    force: Flag = False
    "Replace existing results, and another table of the same conditions."
    seed: Seed = 0
    "Seed of the networks that are drawn."


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What to read and where to file it."""

    paths: Annotated[
        tuple[Path, ...], Option(metavar="PATH...", path="input", is_repeatable=True, is_argument=True)
    ]
    "Files of one format, or a folder of tables."
    format_name: Annotated[str | None, Option(name="--format", metavar="NAME")] = None
    "kit, ofa-yaml, trtexec-times, trtexec-profile, trtexec-log, csv."
    device: Annotated[str | None, Option(metavar="NAME")] = None
    "Name to file the table under. Default: the kit's target."
    space: _Space = None
    "Search space, where the file does not say."
    num_classes: _NumClasses = None
    "Outputs of the classifier. Default: the space's."
    subnets: Annotated[
        tuple[Path, ...], Option(name="--subnet", metavar="FILE", path="input file", is_repeatable=True)
    ] = ()
    "Subnet that a file of trtexec belongs to; once for each file."
    conditions: Conditions = field(default_factory=Conditions)
    "Conditions of the measurement that the file does not state."
    source: Annotated[str, Option(metavar="TEXT")] = OWN
    "Who measured the times."
    licence: Annotated[str, Option(metavar="TEXT")] = OWN
    "Licence of the source."
    folder: _OwnTables = None
    "Folder of devices to write to. Default: your own."
    accepts_findings: Annotated[bool, Option(name="--accept-findings")] = False
    "Import what `latency audit` refuses; the table says what it found."
    force: Flag = False
    "Replace another table of the same device, source and conditions."


@dataclass(frozen=True, kw_only=True)
class PredictionRequest:
    """Networks, and the devices whose latency is wanted."""

    networks: Annotated[tuple[str, ...], Option(metavar="NETWORK...", is_repeatable=True, is_argument=True)]
    "Files of subnets, or names of standard networks."
    devices: Annotated[
        tuple[str, ...], Option(name="--device", metavar="DEVICE[:VARIANT]", is_repeatable=True)
    ]
    "Where it would run."
    space_name: _Space = None
    "Search space of subnets whose files do not name one."
    confidence: Annotated[float | None, Bounds(above=0, below=1), Option()] = None
    "Also show what the latency stays below with this probability, such as 0.9."
    resolution: Annotated[int | None, Bounds(at_least=1, at_most=4096), Option()] = None
    "Input size in pixels. Default: what the file says; 224 for standard networks."
    tables: _Tables = ()
    "A further folder of latency tables."


@dataclass(frozen=True)
class LikenessRequest:
    """A few measured networks of a device that known ones are compared with."""

    path: Annotated[Path, Option(name="--like", metavar="FILE", path="input file")]
    """A few networks you measured: results of a kit, a filled-in probes file, CSV of subnets, or CSV of
    standard networks by name in a column `network`."""
    _: KW_ONLY
    space_name: _Space = None
    "Search space, where the file does not say."
    batch_size: Annotated[int | None, Bounds(at_least=1), Option()] = None
    "Images per run, where the file does not say. Default: tables of every batch size are compared."
    tables: _Tables = ()
    "A further folder of latency tables."


@dataclass(frozen=True)
class AuditRequest:
    """Times to look for mistakes in."""

    path: Annotated[Path, Option(path="input", is_argument=True)]
    "A device folder, a folder of devices, a table file, or a raw file."
    _: KW_ONLY
    space: _Space = None
    "Search space of the subnets in a CSV; without it their work is unknown."
    device: Annotated[str | None, Option(metavar="NAME")] = None
    "Hold a raw file against this device's data sheet."
    batch_size: Positive = 1
    "Images behind each time of a raw file that does not say."
    against: Annotated[Sequence[Path], Option(metavar="PATH", path="input", is_repeatable=True)] = ()
    "Look for copies in this file or folder too."
    tables: Annotated[Sequence[Path], Option(metavar="DIR", path="input folder", is_repeatable=True)] = ()
    "A further folder of latency tables."


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest:
    """Files to time here, and under which conditions."""

    paths: Annotated[
        tuple[Path, ...], Option(metavar="FILES...", path="input", is_repeatable=True, is_argument=True)
    ]
    "ONNX files, ours or not, with one input, and folders of other formats."
    providers: Annotated[tuple[Provider, ...], Option(name="--provider", is_repeatable=True)] = ()
    "What runs them. Default: all that the installed ONNX Runtime has."
    threads: Annotated[tuple[int, ...], Bounds(at_least=1), Option(is_repeatable=True)] = (1,)
    "CPU threads."
    batch_sizes: Annotated[
        tuple[int, ...], Bounds(at_least=1), Option(name="--batch-size", is_repeatable=True)
    ] = ()
    "Of files that leave it open; others keep theirs."
    num_runs: Annotated[int, Bounds(at_least=5), Option(name="--runs")] = 100
    "Timed runs of each."
    seed: Seed = 0
    "Seed of the inputs."

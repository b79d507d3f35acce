"""What the software on a target accepts: one row per generation of TensorRT, and ONNX Runtime.

A row holds facts that decide how a file is written and linted; each names its source beside it. Which
generation a device runs is in its `device.toml`. A version gets a row of its own where it changed something
that a file of ours depends on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ofa_toolkit.core.errors import ExportError, UnknownNameError, unknown_name
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export import operator_support
from ofa_toolkit.export.operator_support import AttributeValues, ConstantInputs, DataTypes, Operators


@dataclass(frozen=True, kw_only=True)
class Software:
    """What reads ONNX files, and what all its versions have in common.

    Attributes:
        name: As device files and results have it.
        title: For people.
        builds_engines: Whether a builder on the device makes an engine of the file, and the engine is what
            runs; else the file itself, with what is installed here too.
        has_own_parser: Whether what it reads has limits of its own beyond ONNX's operators and versions.
        reads_newer: Whether later versions than the row's, which a file may meet, read more than it says.
        needs_gpu: Whether the GPU decides which precisions are computed in.
        fuses_quantisation: Whether Q/DQ belong only where a convolution or linear layer takes them up,
            signed and symmetric; else around everything that has an 8-bit kernel, unsigned.
        weight_bits: Bits that 8-bit weights may use. With 7, sums of two products of bytes stay within 16
            bits, where processors without VNNI saturate.
        kit_opset: Operator set of the networks of a measuring kit; None for that of its generation.
        kit_precisions: Precisions that a kit is timed in; None for all that the target has.
    """

    name: str
    title: str
    builds_engines: bool
    has_own_parser: bool
    reads_newer: bool
    needs_gpu: bool
    fuses_quantisation: bool
    weight_bits: Literal[7, 8]
    kit_opset: int | None = None
    kit_precisions: tuple[FilePrecision, ...] | None = None


TENSORRT = Software(
    name="tensorrt",
    title="TensorRT",
    builds_engines=True,
    has_own_parser=True,
    reads_newer=False,
    needs_gpu=True,
    fuses_quantisation=True,
    weight_bits=8,
)
ONNXRUNTIME = Software(
    name="onnxruntime",
    title="ONNX Runtime",
    builds_engines=False,
    has_own_parser=False,
    reads_newer=True,
    needs_gpu=False,
    fuses_quantisation=False,
    weight_bits=7,
    # The first with HardSwish: also for the old ONNX Runtime of a board with Python 3.6.
    kit_opset=14,
    kit_precisions=("fp32",),
)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Software that reads ONNX files alike.

    Attributes:
        name: `tensorrt-<first version>` or `onnxruntime`.
        software: What its versions are of.
        since: First version, as numbers.
        min_opset: Oldest operator set it is meant to read.
        max_opset: Newest operator set it reads.
        export_opset: Operator set we write for it: the oldest that has everything we use.
        max_ir_version: Newest file format, that of the ONNX release its parser was built with. Parsers of
            TensorRT do not check it.
        operators: Those it reads; None where it reads every standard one.
        data_types: Element types it reads.
        int8: How weights quantised to 8 bits may be stored: `pair` as fp32 followed by QuantizeLinear and
            DequantizeLinear, `stored` also as int8 followed by DequantizeLinear; None without Q/DQ.
        precision_flags: Whether the builder needs a flag to use fp16 or int8. Without flags the graph's
            own types decide.
        reads_half_constants: Whether importers read constants of an fp16 graph as fp16 where they use
            their values (the bounds of a Clip).
        constant_inputs: Inputs of operators that must be stored in the file.
        attributes: Values that attributes of operators may have, where not all.
        sources: Documents that the facts are read from.
    """

    name: str
    software: Software
    since: tuple[int, int]
    min_opset: int
    max_opset: int
    export_opset: int
    max_ir_version: int
    operators: Operators | None
    data_types: DataTypes
    int8: Literal["pair", "stored"] | None
    precision_flags: bool
    reads_half_constants: bool
    constant_inputs: ConstantInputs = field(default_factory=dict)
    attributes: AttributeValues = field(default_factory=dict)
    sources: tuple[str, ...]

    @property
    def runtime(self) -> str:
        """Name of the software."""
        return self.software.name


_PARSER = "github.com/onnx/onnx-tensorrt"
_DOCS = "docs.nvidia.com/deeplearning/tensorrt"

# Every row says what changed since the one before it.
_TENSORRT_7_1 = Generation(
    name="tensorrt-7.1",
    software=TENSORRT,
    since=(7, 1),
    # "TensorRT supports ONNX graphs generated with at least opset 7": ModelImporter.cpp of 7.1 to 9.3.
    min_opset=7,
    # The parser of 7.1 is built with ONNX 1.6: opset 11, IR version 6.
    max_opset=11,
    export_opset=11,
    max_ir_version=6,
    operators=operator_support.TENSORRT_7_1,
    data_types=operator_support.TYPES_7_1,
    constant_inputs=operator_support.CONSTANT_7_1,
    attributes=operator_support.ATTRIBUTES_7_1,
    # Q/DQ without per-channel scales, which loses too much on depthwise layers (issue 994 of TensorRT).
    int8=None,
    precision_flags=True,
    # The importer of Clip reads its bounds as float whatever their type.
    reads_half_constants=False,
    sources=(
        f"{_PARSER} operators.md of 7.0 (commit 84b5be1) and 7.2 (opset 11)",
        f"{_DOCS}/archives/tensorrt-713/support-matrix",
    ),
)
_TENSORRT_8_0 = replace(
    _TENSORRT_7_1,
    name="tensorrt-8.0",
    since=(8, 0),
    # operators.md: "up to Opset 13"; built with ONNX 1.8: IR version 7.
    max_opset=13,
    export_opset=13,
    max_ir_version=7,
    operators=operator_support.TENSORRT_8_0,
    data_types=operator_support.TYPES_8_0,
    constant_inputs=operator_support.CONSTANT_8_0,
    attributes=operator_support.ATTRIBUTES_8_0,
    # 8.0 adds QuantizeLinear and DequantizeLinear per axis; "invalid weights type of Int8" otherwise.
    int8="pair",
    sources=(f"{_PARSER} release/8.0 docs/operators.md, docs/Changelog.md",),
)
_TENSORRT_8_2 = replace(
    _TENSORRT_8_0,
    name="tensorrt-8.2",
    since=(8, 2),
    operators=operator_support.TENSORRT_8_2,
    constant_inputs=operator_support.CONSTANT_8_2,
    attributes=operator_support.ATTRIBUTES_8_2,
    sources=(
        f"{_PARSER} release/8.2-GA docs/operators.md, docs/Changelog.md",
        "github.com/NVIDIA/TensorRT CHANGELOG.md 8.2.0 EA, 8.2.1 GA",
    ),
)
_TENSORRT_8_4 = replace(
    _TENSORRT_8_2,
    name="tensorrt-8.4",
    since=(8, 4),
    # operators.md of 8.4 still says opset 13, although 8.4.2 is built with ONNX 1.12.
    max_opset=13,
    max_ir_version=8,
    operators=operator_support.TENSORRT_8_4,
    # Changelog 8.4 GA: "native FP16 support for importing and manipulating FP16 initializers".
    reads_half_constants=True,
    sources=(f"{_PARSER} release/8.4-GA docs/operators.md, docs/Changelog.md",),
)
_TENSORRT_8_5 = replace(
    _TENSORRT_8_4,
    name="tensorrt-8.5",
    since=(8, 5),
    max_opset=17,
    export_opset=17,
    operators=operator_support.TENSORRT_8_5,
    data_types=operator_support.TYPES_8_5,
    constant_inputs=operator_support.CONSTANT_8_5,
    sources=(f"{_PARSER} release/8.5-GA docs/operators.md, docs/Changelog.md",),
)
_TENSORRT_8_6 = replace(
    _TENSORRT_8_5,
    name="tensorrt-8.6",
    since=(8, 6),
    operators=operator_support.TENSORRT_8_6,
    constant_inputs=operator_support.CONSTANT_8_6,
    # 8.6-GA's own list was not read; its changelog and the lists of 8.5 and 9.2 were.
    sources=(f"{_PARSER} docs/operators.md of 8.5 and 9.2, docs/Changelog.md of 8.6 EA and GA",),
)
_TENSORRT_9_0 = replace(
    _TENSORRT_8_6,
    name="tensorrt-9.0",
    since=(9, 0),
    max_opset=19,
    max_ir_version=9,
    operators=operator_support.TENSORRT_9,
    data_types=operator_support.TYPES_9,
    constant_inputs=operator_support.CONSTANT_9,
    sources=(f"{_PARSER} docs/operators.md of 9.2, docs/Changelog.md of 9.0 to 9.3",),
)
_TENSORRT_10_0 = replace(
    _TENSORRT_9_0,
    name="tensorrt-10.0",
    since=(10, 0),
    # operators.md of 10.0: opset 9 to 20. The parser only warns of older ones, see `check_versions`.
    min_opset=9,
    # Opset 20 up to 10.3; later releases read more (10.15: opset 24).
    max_opset=20,
    max_ir_version=10,
    operators=operator_support.TENSORRT_10,
    data_types=operator_support.TYPES_10,
    constant_inputs=operator_support.CONSTANT_10,
    attributes=operator_support.ATTRIBUTES_10,
    # DequantizeLinear of an int8 constant: developer guide, "Explicit Quantization", quantized weights.
    int8="stored",
    sources=(
        f"{_PARSER} docs/operators.md of 10.0 (opset 9 to 20) and 10.15, docs/Changelog.md",
        f"{_DOCS}/latest/inference-library/quantized-types-explicit-quantization.html",
    ),
)
_TENSORRT_11_0 = replace(
    _TENSORRT_10_0,
    name="tensorrt-11.0",
    since=(11, 0),
    # operators.md of 11.2: opset 9 to 24; the opset guide says 25 from ONNX 1.20 on.
    max_opset=24,
    operators=operator_support.TENSORRT_11,
    constant_inputs=operator_support.CONSTANT_11,
    attributes=operator_support.ATTRIBUTES_11,
    # BuilderFlag.FP16, BuilderFlag.INT8 and calibrators are removed; networks are strongly typed.
    precision_flags=False,
    sources=(
        f"{_DOCS}/11.0.0/api/migration/tensorrt-10x-to-11x.html",
        f"{_DOCS}/latest/reference/onnx-opset-guide.html",
    ),
)
_ONNXRUNTIME = Generation(
    name="onnxruntime",
    software=ONNXRUNTIME,
    since=(1, 18),
    # From ONNX 1.2.1, opset 7, on: the same table.
    min_opset=7,
    # ONNX Runtime 1.18 reads opset 21, IR version 10 (onnxruntime.ai, compatibility table).
    max_opset=21,
    export_opset=17,
    max_ir_version=10,
    operators=None,
    data_types=operator_support.EVERY_TYPE,
    int8="stored",
    precision_flags=False,
    reads_half_constants=True,
    sources=("onnxruntime.ai/docs/reference/compatibility.html",),
)

TENSORRT_GENERATIONS: tuple[Generation, ...] = (
    _TENSORRT_7_1,
    _TENSORRT_8_0,
    _TENSORRT_8_2,
    _TENSORRT_8_4,
    _TENSORRT_8_5,
    _TENSORRT_8_6,
    _TENSORRT_9_0,
    _TENSORRT_10_0,
    _TENSORRT_11_0,
)
"""From the oldest to the newest."""

GENERATIONS: tuple[Generation, ...] = (*TENSORRT_GENERATIONS, _ONNXRUNTIME)
"""All rows."""


def generation_of(version: str) -> Generation:
    """The row of a TensorRT version such as `8.2.1`.

    Raises:
        ExportError: No version, or one before the oldest row.
    """
    match = re.match(r"(\d+)(?:\.(\d+))?", version)
    rows = TENSORRT_GENERATIONS
    if match is None:
        raise ExportError(f"'{version}' is no TensorRT version.")
    numbers = (int(match[1]), int(match[2] or 0))
    older = [row for row in rows if row.since <= numbers]
    if not older:
        raise ExportError(f"TensorRT {version} is too old; {rows[0].name} is the oldest generation known.")
    return older[-1]


_TENSORRT = re.compile(r"(?:tensorrt|trt)[\s_-]*v?(\d+(?:\.\d+)*)|tensorrt.*", re.IGNORECASE)


def is_tensorrt(name: str) -> bool:
    """Whether a target's name is that of TensorRT itself, in whatever version."""
    return _TENSORRT.fullmatch(name.strip()) is not None


def version_of(name: str) -> str | None:
    """The version in a target's name such as `tensorrt-10.3`, or None where the name is none of TensorRT.

    Raises:
        UnknownNameError: It is, without a version or with one of no known line; what a later line than the
            last row reads is not known yet.
    """
    match = _TENSORRT.fullmatch(name.strip())
    if match is None:
        return None
    rows = TENSORRT_GENERATIONS
    if match[1] is None or int(match[1].partition(".")[0]) not in {row.since[0] for row in rows}:
        problem = "names no version" if match[1] is None else "is of no known generation"
        names = ", ".join(row.name for row in rows)
        is_older = match[1] is not None and int(match[1].partition(".")[0]) < rows[0].since[0]
        raise UnknownNameError(
            f"Target '{name}' {problem} of TensorRT; known are {names}, and versions between them.",
            hint=f"--target {rows[0 if is_older else -1].name}",
        )
    return match[1]


def generation(name: str) -> Generation:
    """The row of that name.

    Raises:
        UnknownNameError: There is none.
    """
    rows: Mapping[str, Generation] = {row.name: row for row in GENERATIONS}
    if name not in rows:
        raise unknown_name("software generation", name, rows)
    return rows[name]
